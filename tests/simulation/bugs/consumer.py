"""Bugs of the consumer, the fast lane, and the step's work."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from workflow._engine.commits import Commits
from workflow._engine.engine import Engine
from workflow._engine.fast_lane import FastLane
from workflow._model.change import APPLIED, Note
from workflow._model.shard import Shard
from workflow._processes.consumer import Consumer, _Handling
from workflow._processes.crash_guard import CrashGuard
from workflow._processes.step import StepWork
from workflow._processes.watermark import Watermark

from .plant import bug, stuck_without_sweeper


@bug("early ack", needs=stuck_without_sweeper)
def _early_ack() -> Iterator[None]:
    real = Consumer._start

    def start(self: Any, record: Any, handling: Any) -> None:
        for ticket in handling.tickets:
            ticket.finish()
        self._acks.finished_something()
        real(self, record, handling)

    with patch.object(Consumer, "_start", start):
        yield


@bug("early ack through the fast lane", needs=stuck_without_sweeper)
def _early_lane_ack() -> Iterator[None]:
    real = Consumer._take

    def take(self: Any, ticket: Any) -> None:
        handling = self._running.get(ticket.event.run_id)
        if handling is not None and handling.version == ticket.event.version:
            ticket.finish()
            self._acks.finished_something()
            return
        real(self, ticket)

    with patch.object(Consumer, "_take", take):
        yield


@bug("a partition without an owner")
def _no_owner() -> Iterator[None]:
    with patch.object(Shard, "partitions", lambda self, count: tuple(range(self.index - 1, count - 1, self.total))):
        yield


@bug("starvation through the lane", needs=lambda plan: plan.spinner and plan.slots == 1 and plan.liveness)
def _lane_starves() -> Iterator[None]:
    def leave(self: Any, run_id: str, handling: Any) -> None:
        del self._running[run_id]
        follow = handling.follow
        if follow is not None and self._open and not self._done.includes(run_id, follow.version):
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

    def handling(self: Any, record: Any, **more: Any) -> Any:
        run = real(self, record, **more)
        kept = self.__dict__.setdefault("kept_objects", {})
        run.object = kept.setdefault(record.run_id, run.object)
        return run

    with patch.object(Engine, "handling", handling):
        yield


@bug("crash loop not counted", needs=lambda plan: plan.poison)
def _crashes_uncounted() -> Iterator[None]:
    with patch.object(CrashGuard, "suspects", property(lambda self: False)):
        yield


@bug("ack of the last finished, not of all before it", needs=stuck_without_sweeper)
def _ack_beyond() -> Iterator[None]:
    def rise(self: Any, now: float) -> Any:
        risen = None
        for ticket in [ticket for ticket in self._open if ticket.finished]:
            self._open.remove(ticket)
            self.finished -= 1
            risen = ticket.event
        return risen

    with patch.object(Watermark, "rise", rise):
        yield


@bug("a stopped run is handled", needs=lambda plan: plan.verbs)
def _handles_stopped() -> Iterator[None]:
    def judge(self: Any, event: Any, record: Any) -> str | None:
        return None if record is not None and record.status == self._step.status and not record.marks.skipped else "no"

    with patch.object(StepWork, "judge", judge):
        yield


@bug("a skipped step runs again at every event")
def _runs_skipped() -> Iterator[None]:
    real = StepWork.judge

    def judge(self: Any, event: Any, record: Any) -> str | None:
        return real(
            self, event, record if record is None else replace(record, marks=replace(record.marks, skipped=False))
        )

    with patch.object(StepWork, "judge", judge):
        yield


@bug("a back-off is not waited for", needs=lambda plan: plan.failing)
def _no_back_off() -> Iterator[None]:
    real_offer, real_handle = FastLane.offer, StepWork.handle

    async def handle(self: Any, record: Any, attempt: int) -> bool:
        return await real_handle(self, replace(record, due_at=record.updated_at), attempt)

    with (
        patch.object(FastLane, "offer", lambda self, move: real_offer(self, replace(move, due_at=None))),
        patch.object(StepWork, "handle", handle),
    ):
        yield


@bug("a run is handled twice at once")
def _twice_at_once() -> Iterator[None]:
    def offer(self: Any, record: Any) -> None:
        if self._open and self._free() > 0 and not self._waiting:
            self._start(record, _Handling(record.version))

    def claim(self: Any) -> Any:
        claimed = []
        while self._waiting and self._free() > 0:
            ticket = self._waiting.popleft()
            handling = self._running[ticket.event.run_id] = _Handling(ticket.event.version)
            handling.tickets = (ticket,)
            claimed.append((ticket.event, handling))
        return claimed

    def take(self: Any, ticket: Any) -> None:
        self._waiting.append(ticket)
        self._work_waits.set()

    def leave(self: Any, run_id: str, handling: Any) -> None:
        self._running.pop(run_id, None)
        if self._waiting:
            self._work_waits.set()

    with (
        patch.object(Consumer, "offer", offer),
        patch.object(Consumer, "_claim", claim),
        patch.object(Consumer, "_take", take),
        patch.object(Consumer, "_leave", leave),
    ):
        yield


@bug("a crash mark kept by a drain", needs=lambda plan: plan.stops and (plan.crashes or plan.poison))
def _mark_kept() -> Iterator[None]:
    real = Commits.apply

    async def apply(self: Any, change: Any, *args: Any) -> Any:
        if isinstance(change, Note) and change.claimed_by == "":
            return APPLIED
        return await real(self, change, *args)

    with patch.object(Commits, "apply", apply):
        yield


@bug("a drain that starts lane work", needs=lambda plan: plan.stops or plan.lost_leases)
def _lane_stays_open() -> Iterator[None]:
    always = property(lambda self: True, lambda self, value: None)
    with patch.object(Consumer, "_open", always, create=True):
        yield
