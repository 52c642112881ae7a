"""Bugs of the store's guard, and of what a version must say."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from workflow._engine.transitions import Transitions
from workflow._model.change import Outcome, Verdict
from workflow._processes import schedule
from workflow_adapters.memory import MemoryRecordStore

from .plant import bug, stuck_without_sweeper


@bug("no compare-and-swap")
def _no_cas() -> Iterator[None]:
    real = MemoryRecordStore._new_version

    def move(self: Any, change: Any) -> Outcome:
        present = self._records.get(change.run_id)
        if present is not None and change.record.version > 1:
            change = replace(change, record=replace(change.record, version=present.version + 1), base_attempt="")
        return real(self, change)

    with patch.object(MemoryRecordStore, "_new_version", move):
        yield


@bug("two live runs")
def _two_live() -> Iterator[None]:
    real = MemoryRecordStore._new_version

    def move(self: Any, change: Any) -> Outcome:
        if change.record.version == 1:
            self._live.pop((change.record.workflow_name, change.record.foreign_id), None)
        return real(self, change)

    with patch.object(MemoryRecordStore, "_new_version", move):
        yield


@bug("schedule slot fired twice", needs=lambda plan: plan.schedule)
def _slot_twice() -> Iterator[None]:
    real = schedule.Scheduled.run_id
    count = iter(range(1_000_000))

    async def remember(self: Any) -> None:
        return

    def run_id(self: Any, workflow_name: str, slot: Any) -> str:
        return f"{real(self, workflow_name, slot)}-{next(count)}"

    with patch.object(schedule.Scheduled, "run_id", run_id), patch.object(schedule._Slots, "remember", remember):
        yield


@bug("the live run is looked at before the run ID", needs=lambda plan: plan.unknown)
def _own_way() -> Iterator[None]:
    real = MemoryRecordStore._new_version

    def move(self: Any, change: Any) -> Outcome:
        record = change.record
        live = self._live.get((record.workflow_name, record.foreign_id))
        if record.version == 1 and live is not None:
            return Outcome(Verdict.IN_PROGRESS, self._records[live])
        return real(self, change)

    with patch.object(MemoryRecordStore, "_new_version", move):
        yield


@bug("a version without its event", needs=stuck_without_sweeper)
def _no_event() -> Iterator[None]:
    real = MemoryRecordStore.append_event

    def append(self: Any, event: Any, due_at: Any) -> None:
        if event.version != 2:
            real(self, event, due_at)

    with patch.object(MemoryRecordStore, "append_event", append):
        yield


@bug("erased data left in the history", needs=lambda plan: plan.verbs)
def _not_erased() -> Iterator[None]:
    with patch.object(MemoryRecordStore, "_erase", lambda self, run_id: None):
        yield


def _failing_otherwise(**changes: Any) -> Any:
    real = Transitions.failed

    def failed(self: Any, record: Any, *args: Any) -> Any:
        move = real(self, record, *args)
        said = {name: value(record) for name, value in changes.items()}
        return replace(move, record=replace(move.record, **said))

    return patch.object(Transitions, "failed", failed)


@bug("a failure that does not count", needs=lambda plan: plan.failing)
def _uncounted() -> Iterator[None]:
    with _failing_otherwise(attempt=lambda record: record.attempt):
        yield


@bug("a retry with another idempotency key", needs=lambda plan: plan.failing)
def _another_key() -> Iterator[None]:
    with _failing_otherwise(step_version=lambda record: record.version + 1):
        yield


@bug("a failed attempt's row has a copy of the object", needs=lambda plan: plan.failing)
def _copied() -> Iterator[None]:
    real = Transitions.failed

    def failed(self: Any, *args: Any) -> Any:
        return replace(real(self, *args), keep_object=True)

    with patch.object(Transitions, "failed", failed):
        yield
