"""Bugs of the sweeper and of the auto-resume."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from workflow._model.query import StalledQuery
from workflow._model.record import VersionCause
from workflow._model.run_state import RunState
from workflow._processes import pause_retry
from workflow._processes.sweep import _Sweeper
from workflow_adapters.memory import MemoryRecordStore

from .plant import bug


@bug("event lost without sweeper")
def _no_sweeper() -> Iterator[None]:
    async def sweep_nothing(self: Any, term: Any) -> None:
        return None

    with patch.object(_Sweeper, "_sweep", sweep_nothing):
        yield


@bug("sweeper re-runs a skipped step")
def _sweeps_skipped() -> Iterator[None]:
    real = MemoryRecordStore.list_stalled

    async def list_stalled(self: Any, query: StalledQuery) -> Any:
        kept = dict(self._records)
        self._records.update(
            {key: replace(record, marks=replace(record.marks, skipped=False)) for key, record in kept.items()}
        )
        try:
            return await real(self, query)
        finally:
            self._records.clear()
            self._records.update(kept)

    with patch.object(MemoryRecordStore, "list_stalled", list_stalled):
        yield


@bug("sweeper floods a backlog")
def _floods() -> Iterator[None]:
    async def unread(self: Any, settled: Any) -> Any:
        return {}

    with patch.object(_Sweeper, "_unread", unread):
        yield


@bug("sweeper floods an outbox that is behind", needs=lambda plan: plan.sweep)
def _floods_outbox() -> Iterator[None]:
    async def sent(self: Any, now: Any) -> Any:
        return now - self._after

    with patch.object(_Sweeper, "_sent", sent):
        yield


@bug("sweeper that does not double its wait", needs=lambda plan: plan.sweep and "slowpoke" in plan.extra)
def _no_doubling() -> Iterator[None]:
    real = MemoryRecordStore._note

    def note(self: Any, change: Any) -> Any:
        return real(self, replace(change, reemitted_at=None))

    with patch.object(MemoryRecordStore, "_note", note):
        yield


@bug("sweeper resumes what a person paused", needs=lambda plan: plan.sweep and plan.verbs)
def _resumes_by_sweeping() -> Iterator[None]:
    real_list, real_again = MemoryRecordStore.list_stalled, _Sweeper._again

    async def list_stalled(self: Any, query: StalledQuery) -> Any:
        paused = [r for r in self._records.values() if r.run_state is RunState.PAUSED and r.due_at < query.due_before]
        return [*await real_list(self, query), *paused]

    async def again(self: Any, record: Any) -> None:
        engine = self._engine
        if record.run_state is not RunState.PAUSED:
            await real_again(self, record)
            return
        await engine.commits.apply(engine.transitions.resumed(record, engine.stamp(VersionCause.RESUME)))

    with patch.object(MemoryRecordStore, "list_stalled", list_stalled), patch.object(_Sweeper, "_again", again):
        yield


@bug("auto-resume of a person's pause", needs=lambda plan: plan.retry and (plan.verbs or "decide" in plan.extra))
def _resumes_persons() -> Iterator[None]:
    async def paused(self: Any, workflow_name: str, *, paused_until: Any, limit: int) -> Any:
        found = [r for r in self._records.values() if r.run_state is RunState.PAUSED and r.updated_at <= paused_until]
        return found[:limit]

    with patch.object(MemoryRecordStore, "list_auto_paused", paused):
        yield


@bug("a run that the engine paused is forgotten", needs=lambda plan: plan.retry and plan.liveness)
def _never_resumes() -> Iterator[None]:
    async def nothing(engine: Any, after: Any) -> int:
        return 0

    with patch.object(pause_retry, "_resume_page", nothing):
        yield
