"""Bugs of timers: armed, due, fired, postponed."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from workflow._model.run_state import RUNNABLE
from workflow._processes import pause_retry
from workflow._processes.timeouts_arm import ArmingWork
from workflow._processes.timeouts_fire import TimeoutPoller
from workflow._verbs import steer
from workflow_adapters.memory import MemoryTimeoutStore

from .plant import bug


@bug("timer lost in a fast save_and_repeat loop")
def _judges_by_version() -> Iterator[None]:
    def judge(self: Any, event: Any, record: Any) -> str | None:
        if record is None or record.version > event.version or record.version != record.visit:
            return "superseded"
        if record.run_state not in RUNNABLE:
            return "record stopped"
        return "" if record.marks.timers_armed else None

    with patch.object(ArmingWork, "judge", judge):
        yield


@bug("timer of an old visit fires")
def _old_visit() -> Iterator[None]:
    real = TimeoutPoller._settle

    async def settle(self: Any, timeout: Any, record: Any, process: str) -> None:
        if record is not None and record.status == timeout.status:
            timeout = replace(timeout, visit=record.visit)
        await real(self, timeout, record, process)

    with patch.object(TimeoutPoller, "_settle", settle):
        yield


@bug("paused timers starve live ones", needs=lambda plan: plan.sleeper)
def _paused_timers() -> Iterator[None]:
    real = MemoryTimeoutStore.claim_due

    async def claim(self: Any, *args: Any, **more: Any) -> Any:
        page = await real(self, *args, **more)
        for timeout in page.timeouts:
            # Not put off by the claim, so the same ones are always the first.
            self._write(replace(self._timeouts[timeout.id], due_at=timeout.expire_at))
        return page

    async def nothing(self: Any, timeouts: Any) -> None:
        return None

    with patch.object(MemoryTimeoutStore, "claim_due", claim), patch.object(MemoryTimeoutStore, "postpone", nothing):
        yield


@bug("a timer that counts from when it is armed")
def _from_now() -> Iterator[None]:
    real = ArmingWork._timers

    async def timers(self: Any, record: Any, run: Any) -> Any:
        return await real(self, replace(record, entered_at=self._engine.now()), run)

    with patch.object(ArmingWork, "_timers", timers):
        yield


@bug("a timer that fires the function of another")
def _wrong_function() -> Iterator[None]:
    with patch.object(TimeoutPoller, "_declared", lambda self, t: self._engine.definition.timeouts[t.status][0]):
        yield


@bug("a timer's result applied twice", needs=lambda plan: plan.unknown or plan.crashes)
def _applied_twice() -> Iterator[None]:
    async def never(self: Any, *args: Any) -> bool:
        return False

    with patch.object(TimeoutPoller, "_applied_before", never):
        yield


@bug("a timer that sleeps on after its run was resumed", needs=lambda plan: plan.liveness)
def _not_revived() -> Iterator[None]:
    async def nothing(engine: Any, record: Any) -> None:
        return None

    with patch.object(steer, "rearm_timers", nothing), patch.object(pause_retry, "rearm_timers", nothing):
        yield


@bug("a failing timer is never given up", needs=lambda plan: plan.liveness and "alarm" in plan.extra)
def _never_given_up() -> Iterator[None]:
    real = TimeoutPoller._fail

    async def fail(self: Any, timeout: Any, *args: Any) -> None:
        await real(self, replace(timeout, attempt=1), *args)

    with patch.object(TimeoutPoller, "_fail", fail):
        yield


@bug("a completed timer is forgotten within its visit")
def _forgotten() -> Iterator[None]:
    with patch.object(MemoryTimeoutStore, "complete", MemoryTimeoutStore.cancel):
        yield
