"""Planted bugs: each a small wound in the real engine, or in its store, that the simulation must notice."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from workflow._change import ALREADY_APPLIED, APPLIED, Emit, Mark, Outcome
from workflow._commits import FIRST_RETRY, Commits
from workflow._engine import Engine
from workflow._invoke import Invoker
from workflow._processes import schedule, tenure
from workflow._processes.consumer import Consumer, _Handling
from workflow._processes.step import StepWork
from workflow._processes.sweep import _Sweeper
from workflow._processes.timeout_inserter import InserterWork
from workflow._processes.timeout_poller import TimeoutPoller
from workflow._record import StalledQuery
from workflow._runstate import RUNNABLE
from workflow._shard import Shard
from workflow.errors import OutcomeUnknown, Unavailable
from workflow_adapters.memory import MemoryRecordStore, MemoryTimeoutStore

from .world import Plan

Bug = Callable[[], Any]
BUGS: dict[str, Bug] = {}


def bug(name: str) -> Callable[[Callable[[], Iterator[None]]], Callable[[], Any]]:
    def keep(fn: Callable[[], Iterator[None]]) -> Callable[[], Any]:
        BUGS[name] = contextmanager(fn)
        return BUGS[name]

    return keep


@bug("no compare-and-swap")
def _no_cas() -> Iterator[None]:
    real = MemoryRecordStore._move

    def move(self: Any, change: Any) -> Outcome:
        present = self._records.get(change.run_id)
        if present is not None and change.record.version > 1:
            change = replace(change, record=replace(change.record, version=present.version + 1))
        return real(self, change)

    with patch.object(MemoryRecordStore, "_move", move):
        yield


@bug("early ack")
def _early_ack() -> Iterator[None]:
    real = Consumer._start

    def start(self: Any, record: Any, handling: Any) -> None:
        for ticket in handling.tickets:
            ticket.finish()
        self._ack_due.set()
        real(self, record, handling)

    with patch.object(Consumer, "_start", start):
        yield


@bug("early ack through the fast lane")
def _early_lane_ack() -> Iterator[None]:
    real = Consumer._take

    def take(self: Any, ticket: Any) -> None:
        handling = self._running.get(ticket.event.run_id)
        if handling is not None and handling.version == ticket.event.version:
            ticket.finish()
            self._ack_due.set()
            return
        real(self, ticket)

    with patch.object(Consumer, "_take", take):
        yield


@bug("event lost without sweeper")
def _no_sweeper() -> Iterator[None]:
    async def sweep_nothing(self: Any, tenure: Any) -> None:
        return None

    with patch.object(_Sweeper, "_sweep", sweep_nothing):
        yield


@bug("sweeper re-runs a skipped step")
def _sweeps_skipped() -> Iterator[None]:
    real = MemoryRecordStore.list_stalled

    async def list_stalled(self: Any, query: StalledQuery) -> Any:
        kept = dict(self._records)
        self._records.update({key: replace(record, skipped=False) for key, record in kept.items()})
        try:
            return await real(self, query)
        finally:
            self._records.clear()
            self._records.update(kept)

    with patch.object(MemoryRecordStore, "list_stalled", list_stalled):
        yield


@bug("sweeper floods a backlog")
def _floods() -> Iterator[None]:
    async def limit(self: Any, topic: str, consumer: str, now: Any) -> Any:
        return now - self._after

    with patch.object(_Sweeper, "_limit", limit):
        yield


@bug("timer lost in a fast save_and_repeat loop")
def _judges_by_version() -> Iterator[None]:
    def judge(self: Any, event: Any, record: Any) -> str | None:
        if record is None or record.version > event.version or record.version != record.visit:
            return "superseded"
        if record.run_state not in RUNNABLE:
            return "record stopped"
        return "" if record.armed else None

    with patch.object(InserterWork, "judge", judge):
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


@bug("paused timers starve live ones")
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


@bug("a partition without an owner")
def _no_owner() -> Iterator[None]:
    with patch.object(Shard, "partitions", lambda self, count: tuple(range(self.index - 1, count - 1, self.total))):
        yield


@bug("starvation through the lane")
def _lane_starves() -> Iterator[None]:
    def leave(self: Any, run_id: str, handling: Any) -> None:
        del self._running[run_id]
        follow = handling.follow
        if follow is not None and self._open and follow.version > self._done.get(run_id, 0):
            self._start(follow, _Handling(follow.version))
        for ticket in handling.later:
            self._take(ticket)
        if self._waiting:
            self._work_waits.set()

    with patch.object(Consumer, "_leave", leave):
        yield


@bug("stale lane object")
def _stale_object() -> Iterator[None]:
    real = Engine.handling

    def handling(self: Any, record: Any) -> Any:
        run = real(self, record)
        kept = self.__dict__.setdefault("kept_objects", {})
        run.object = kept.setdefault(record.run_id, run.object)
        return run

    with patch.object(Engine, "handling", handling):
        yield


async def _try_badly(self: Any, batch: Any, settle: Any) -> Any:
    """`Commits._try`, with something else to do about an unknown outcome."""
    while True:
        try:
            return await self._store.store([pending.change for pending in batch])
        except Unavailable:
            await asyncio.sleep(FIRST_RETRY * (0.5 + self._draw()))
        except OutcomeUnknown:
            answer = await settle(self, batch)
            if answer is not None:
                return answer


@bug("unknown outcome answered by a read")
def _answered_by_read() -> Iterator[None]:
    async def read(self: Any, batch: Any) -> Any:
        try:
            records = await self._store.lookup([pending.change.run_id for pending in batch])
        except Unavailable:
            return None
        answers = []
        for pending in batch:
            change, record = pending.change, records.get(pending.change.run_id)
            if isinstance(change, (Mark, Emit)):
                answers.append(APPLIED)
            elif record is not None and record.version >= change.record.version:
                answers.append(ALREADY_APPLIED)
            else:
                return None
        return answers

    with patch.object(Commits, "_try", lambda self, batch: _try_badly(self, batch, read)):
        yield


@bug("retry that forgets the attempt id")
def _forgets_attempt() -> Iterator[None]:
    async def forget(self: Any, batch: Any) -> Any:
        for pending in batch:
            if not isinstance(pending.change, (Mark, Emit)):
                record = pending.change.record
                changed = replace(record, attempt_id=f"{record.attempt_id}+")
                pending.change = replace(pending.change, record=changed)

    with patch.object(Commits, "_try", lambda self, batch: _try_badly(self, batch, forget)):
        yield


@bug("crash loop not counted")
def _crashes_uncounted() -> Iterator[None]:
    with patch.object(StepWork, "_suspicious", lambda self: False):
        yield


@bug("two live runs")
def _two_live() -> Iterator[None]:
    real = MemoryRecordStore._move

    def move(self: Any, change: Any) -> Outcome:
        if change.record.version == 1:
            self._live.pop((change.record.workflow_name, change.record.foreign_id), None)
        return real(self, change)

    with patch.object(MemoryRecordStore, "_move", move):
        yield


@bug("schedule slot fired twice")
def _slot_twice() -> Iterator[None]:
    real = schedule.Scheduled.run_id
    count = iter(range(1_000_000))

    async def last(engine: Any, scheduled: Any, since: Any) -> Any:
        return since

    def run_id(self: Any, workflow_name: str, slot: Any) -> str:
        return f"{real(self, workflow_name, slot)}-{next(count)}"

    with patch.object(schedule.Scheduled, "run_id", run_id), patch.object(schedule, "_last", last):
        yield


@bug("swallowed cancel")
def _swallowed_cancel() -> Iterator[None]:
    async def call(self: Any, handler: Any, *args: Any, timeout: timedelta | None = None) -> Any:
        if timeout is None:
            return await handler.call(*args)
        async with asyncio.timeout(timeout.total_seconds()):
            return await handler.call(*args)

    with patch.object(Invoker, "call", call):
        yield


@bug("drain that never ends")
def _endless_drain() -> Iterator[None]:
    async def drain(self: Any, tasks: Any) -> None:
        if running := [task for task in tasks if not task.done()]:
            await asyncio.wait(running)

    def hang(real: Any) -> Any:
        async def call(self: Any, handler: Any, *args: Any, timeout: timedelta | None = None) -> Any:
            return await real(self, handler, *args)

        return call

    # The handler's own limit would end it; the drain must do so without that.
    with patch.object(tenure.Tenure, "drain", drain), patch.object(Invoker, "call", hang(Invoker.call)):
        yield


def relevant(name: str, plan: Plan) -> bool:
    """Leaves out seeds that have nothing to do with a bug, to find it sooner; they are seeds like all others."""
    needs: dict[str, bool] = {
        "schedule slot fired twice": plan.schedule,
        "starvation through the lane": plan.spinner and plan.slots == 1 and plan.liveness,
        "crash loop not counted": plan.poison,
        "early ack": not plan.sweep and plan.liveness,
        "early ack through the fast lane": not plan.sweep and plan.liveness,
        "paused timers starve live ones": plan.sleeper,
        "drain that never ends": bool(plan.stops),
        "swallowed cancel": bool(plan.stops),
    }
    return needs.get(name, True)
