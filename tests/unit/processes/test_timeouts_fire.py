"""A timer that is claimed twice is applied once, and one that kills its process is paused like one that raises."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

import msgspec
import pytest

from tests.faults import Wrapper
from workflow import Builder, Options, Run, RunState, Unavailable
from workflow._engine.timer_writes import TimerWrites
from workflow._model.timer import TimeoutRecord
from workflow._processes.crash_guard import CRASHED
from workflow._processes.timeouts_fire import CLAIM, TimeoutPoller
from workflow.protocols import Backend
from workflow.testing import FakeClock
from workflow_adapters.memory import MemoryBackend


class Status(IntEnum):
    WAITING = 1
    DONE = 2


class Thing(msgspec.Struct):
    fired: int = 0


async def test_a_timer_whose_second_claim_was_faster_is_not_applied_again() -> None:
    builder: Builder[Thing, Status] = Builder("claimed", Thing, Status)
    calls = 0

    async def fire(run: Run[Thing, Status], now: datetime) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            # So slow that the claim has run out: the run is moved within its visit, another process claims the timer,
            # and is done before this one.
            await wf.pause(run.run_id)
            await wf.resume(run.run_id)
            present = (await engine.records.lookup([run.run_id]))[run.run_id]
            await poller._settle(msgspec.structs.replace(timer, claims=2), present, "another")
        run.object.fired += 1
        return run.save_and_repeat()

    builder.timeout(Status.WAITING, timedelta(hours=1), to=Status.DONE)(fire)  # type: ignore[arg-type]
    async with MemoryBackend() as backend:
        wf = builder.build(backend)
        engine = wf._engine
        poller = TimeoutPoller(engine, TimerWrites(engine.timeouts))
        run_id = await wf.trigger("customer")
        record = (await engine.records.lookup([run_id]))[run_id]
        timer = TimeoutRecord(
            id=f"{run_id}/1/0",
            workflow_name=wf.name,
            foreign_id="customer",
            run_id=run_id,
            status=Status.WAITING,
            visit=1,
            timer=0,
            expire_at=record.created_at,
            due_at=record.created_at,
            created_at=record.created_at,
            claims=1,
        )
        await engine.timeouts.create([timer])
        await poller._settle(timer, record, "first")
        run = await wf.get(run_id)
        assert (run.object.fired, run.version, calls) == (1, 4, 2)


class Killed(Wrapper):
    """The timeout store of a process that is killed: from then on it writes nothing."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self.dead = False

    async def postpone(self, timeouts: Sequence[TimeoutRecord]) -> None:
        if self.dead:
            raise Unavailable("killed")
        await self.real.postpone(timeouts)


class Timers:
    """One timer whose function never returns, in processes that come and go."""

    def __init__(self, threshold: int) -> None:
        builder: Builder[Thing, Status] = Builder("crashing", Thing, Status)
        self.attempts: list[tuple[int, str]] = []
        self.begun = asyncio.Event()

        @builder.timeout(Status.WAITING, timedelta(0), to=Status.DONE)
        async def fire(run: Run[Thing, Status], now: datetime) -> Status:
            self.attempts.append((run.attempt, run.last_error))
            self.begun.set()
            await asyncio.Event().wait()
            return Status.DONE

        real = MemoryBackend()
        assert real.timeout_store is not None
        self.store = Killed(real.timeout_store)
        store: Any = self.store
        backend = Backend(real.record_store, real.event_streamer, real.role_scheduler, store)
        self.clock = FakeClock()
        options = Options(pause_after_err_count=threshold, err_back_off=timedelta(0))
        self.wf = builder.build(backend, default_options=options, clock=self.clock)

    async def create(self) -> TimeoutRecord:
        """The run and its timer, which is due."""
        run_id = await self.wf.trigger("customer")
        now = self.clock.now()
        timer = TimeoutRecord(
            id=f"{run_id}/1/0",
            workflow_name=self.wf.name,
            foreign_id="customer",
            run_id=run_id,
            status=Status.WAITING,
            visit=1,
            timer=0,
            expire_at=now,
            due_at=now,
            created_at=now,
        )
        await self.store.create([timer])
        return timer

    async def process(self, *, killed: bool) -> None:
        """A process claims what is due, begins, and is killed or asked to stop."""
        poller, now = TimeoutPoller(self.wf._engine, TimerWrites(self.wf._engine.timeouts)), self.clock.now()
        page = await self.store.claim_due(self.wf.name, [1], now=now, until=now + CLAIM, limit=1)
        (timer,) = page.timeouts
        record = await self.wf._engine.find(timer.run_id)
        self.begun.clear()
        task = asyncio.ensure_future(poller._settle(timer, record, "process"))
        begun = asyncio.ensure_future(self.begun.wait())
        await asyncio.wait([task, begun], return_when=asyncio.FIRST_COMPLETED)
        self.store.dead = killed
        begun.cancel()
        task.cancel()
        with suppress(asyncio.CancelledError, Unavailable):
            await task
        self.store.dead = False
        self.clock.advance(CLAIM)


async def test_a_timer_that_kills_its_process_is_paused_like_one_that_fails() -> None:
    timers = Timers(threshold=2)
    timer = await timers.create()
    for _ in range(4):
        await timers.process(killed=True)
    # The first crash leaves nothing behind but its claim: from the second on they are counted.
    assert timers.attempts == [(1, ""), (1, ""), (2, CRASHED)]
    run = await timers.wf.get(timer.run_id)
    assert run.run_state is RunState.PAUSED
    assert CRASHED in run.last_error
    await timers.wf.resume(timer.run_id)
    await timers.process(killed=True)
    assert timers.attempts[3:] == [(1, CRASHED)], "a resume begins anew"


@pytest.mark.parametrize("crashes", [0, 2])
async def test_being_asked_to_stop_does_not_count(crashes: int) -> None:
    timers = Timers(threshold=2)
    timer = await timers.create()
    for _ in range(crashes):
        await timers.process(killed=True)
    for _ in range(5):
        await timers.process(killed=False)
    assert (await timers.wf.get(timer.run_id)).run_state is not RunState.PAUSED
    assert [attempt for attempt, _ in timers.attempts[crashes:]] == [max(1, crashes)] * 5
