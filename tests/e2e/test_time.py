"""Timeouts, schedules, starts in the future and the sweeper, with a clock that the test moves, on every backend."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal

from tests.e2e.model import PATIENCE, Status, Thing
from tests.e2e.sleepers import sleeps_until
from workflow import Builder, Decision, Options, Run
from workflow.protocols import Backend
from workflow.testing import FakeClock, await_timeout_insert, require


async def test_only_the_timer_that_expired_fires(backend: Backend) -> None:
    """R-TIMEOUT-15, W-14."""
    clock = FakeClock()
    builder = Builder("timing", Thing, Status)

    @builder.timeout(Status.A, timedelta(hours=100))
    async def late(run: Run[Thing, Status], now: datetime) -> Literal[Status.C]:
        return Status.C

    @builder.timeout(Status.A, timedelta(hours=1))
    async def soon(run: Run[Thing, Status], now: datetime) -> Literal[Status.B]:
        run.object.text = now.isoformat()
        return Status.B

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        run_id = await wf.trigger("waiting")
        await await_timeout_insert(wf, "waiting", run_id, Status.A, timeout=PATIENCE)
        clock.advance(timedelta(hours=1))
        await require(wf, "waiting", Status.B, Thing(text="2025-01-01T01:00:00+00:00"), timeout=PATIENCE)


async def test_a_skipped_timer_fires_once(backend: Backend) -> None:
    """W-13."""
    clock = FakeClock()
    builder = Builder("skipping", Thing, Status)
    fired: list[datetime] = []

    @builder.timeout(Status.A, timedelta(hours=1))
    async def skip(run: Run[Thing, Status], now: datetime) -> Decision:
        fired.append(now)
        return run.skip()

    @builder.timeout(Status.A, timedelta(hours=2))
    async def move(run: Run[Thing, Status], now: datetime) -> Literal[Status.B]:
        return Status.B

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        run_id = await wf.trigger("waiting")
        await await_timeout_insert(wf, "waiting", run_id, Status.A, timeout=PATIENCE)
        clock.advance(timedelta(hours=1))
        while not fired:
            await asyncio.sleep(0.01)
        clock.advance(timedelta(hours=1))
        await wf.wait_for("waiting", Status.B, timeout=PATIENCE)
        assert len(fired) == 1


async def test_a_schedule_fires_once_a_slot_in_two_processes(backend: Backend) -> None:
    """R-SCHED-3, R-SCHED-11."""
    clock = FakeClock(datetime(2023, 4, 9, 8, 30, tzinfo=UTC))
    builder = Builder("monthly", Thing, Status)
    builder.schedule("andrew", "@monthly")

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    one, two = builder.build(backend, clock=clock), builder.build(backend, clock=clock)
    async with one.running(), two.running():
        assert "andrew-scheduler-@monthly" in one.states()
        assert not await one.list()
        clock.set(datetime(2023, 5, 1, tzinfo=UTC))
        first = await one.wait_for("andrew", Status.B, timeout=PATIENCE)
        clock.set(datetime(2023, 6, 1, tzinfo=UTC))
        while (second := await two.latest("andrew")).run_id == first.run_id:
            await asyncio.sleep(0.01)
        await two.wait_for("andrew", Status.B, run_id=second.run_id, timeout=PATIENCE)
        assert len(await one.list()) == 2


async def test_a_start_in_the_future_waits(backend: Backend) -> None:
    clock = FakeClock()
    builder = Builder("tomorrow", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        run_id = await wf.trigger("later", start_at=clock.now() + timedelta(days=1))
        await wf.trigger("now")
        await wf.wait_for("now", Status.B, timeout=PATIENCE)
        assert (await wf.get(run_id)).version == 1
        clock.advance(timedelta(days=1))
        await wf.wait_for("later", Status.B, timeout=PATIENCE)


async def test_a_consume_lag_is_waited_for(backend: Backend) -> None:
    """R-CONSUME-2, R-TEST-4, also where the status has a timer."""
    clock = FakeClock()
    builder = Builder("lagging", Thing, Status)

    @builder.step(Status.A, options=Options(consume_lag=timedelta(hours=1)))
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    @builder.step(Status.B, options=Options(consume_lag=timedelta(hours=1)))
    async def more(run: Run[Thing, Status]) -> Literal[Status.C]:
        return Status.C

    @builder.timeout(Status.B, timedelta(days=1))
    async def late(run: Run[Thing, Status], now: datetime) -> Literal[Status.D]:
        return Status.D

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        run_id = await wf.trigger("patient")
        await sleeps_until(clock, clock.now() + timedelta(hours=1))
        clock.advance(timedelta(minutes=59))
        await sleeps_until(clock, clock.now() + timedelta(minutes=1))
        assert (await wf.get(run_id)).status is Status.A
        clock.advance(timedelta(minutes=1))
        await wf.wait_for("patient", Status.B, timeout=PATIENCE)
        await await_timeout_insert(wf, "patient", run_id, Status.B, timeout=PATIENCE)
        assert (await wf.get(run_id)).status is Status.B
        clock.advance(timedelta(hours=1))
        await wf.wait_for("patient", Status.C, timeout=PATIENCE)


async def test_the_sweeper_moves_a_run_whose_event_was_lost(backend: Backend) -> None:
    """R-FIX and the promise: every runnable run advances even if the whole stream was deleted."""
    clock = FakeClock()
    builder = Builder("swept", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    front = builder.build(backend, clock=clock)
    run_id = await front.trigger("lost")
    page = await backend.record_store.list_outbox("swept", now=clock.now(), limit=10)
    await backend.record_store.delete_outbox([event.id for event in page.events])
    wf = builder.build(backend, clock=clock)
    async with wf.running():
        clock.advance(timedelta(minutes=2))
        while (await wf.get(run_id)).status is not Status.B:
            clock.advance(timedelta(seconds=31))
            await asyncio.sleep(0.02)


NEVER = timedelta.max
ZONES = [UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))]


async def test_never_as_a_duration_or_the_last_moment_means_never_in_every_zone(backend: Backend) -> None:
    """Before, such runs were "could not handle a run" for ever, or no timer of the process was read any more."""
    clock = FakeClock()
    builder = Builder("never", Thing, Status)
    options = Options(err_back_off=NEVER, consume_lag=timedelta(0), timeout=NEVER, lag_alert=NEVER)
    failed: list[int] = []

    @builder.step(Status.A, options=options)
    async def fail(run: Run[Thing, Status]) -> Literal[Status.B]:
        failed.append(run.attempt)
        raise RuntimeError("not again")

    async def not_yet(run: Run[Thing, Status], now: datetime) -> Literal[Status.C]:
        raise AssertionError("never")

    builder.timeout(Status.B, NEVER)(not_yet)
    for zone in ZONES:
        builder.timeout(Status.B, datetime.max.replace(tzinfo=zone))(not_yet)
    builder.timeout(Status.B, lambda run, now: datetime.max.replace(tzinfo=ZONES[-1]))(not_yet)

    @builder.timeout(Status.B, timedelta(hours=1))
    async def fire(run: Run[Thing, Status], now: datetime) -> Literal[Status.C]:
        return Status.C

    wf = builder.build(backend, clock=clock, pause_retry=NEVER, sweep_after=NEVER, starting_point=[Status.A, Status.B])
    async with wf.running():
        starts = [datetime.max.replace(tzinfo=zone) for zone in ZONES]
        later = [await wf.trigger(f"start {start}", start_at=start) for start in starts]
        failing = await wf.trigger("failing")
        waiting = await wf.trigger("waiting", starting_point=Status.B)
        await await_timeout_insert(wf, "waiting", waiting, Status.B, timeout=PATIENCE)
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while (await wf.get(failing)).attempt == 1:
                await asyncio.sleep(0.01)
        clock.advance(timedelta(hours=1))
        await wf.wait_for("waiting", Status.C, timeout=NEVER)
        clock.advance(timedelta(days=1000 * 365))
        await asyncio.sleep(0.1)
        assert failed == [1]
        for run_id in (*later, failing):
            record = await wf._engine.find(run_id)
            assert record is not None
            assert record.due_at.year == 9999
        assert len(await wf.list(updated_before=starts[-1])) == 5


async def test_a_consume_lag_of_never_handles_nothing(backend: Backend) -> None:
    clock = FakeClock()
    builder = Builder("never", Thing, Status)

    @builder.step(Status.A, options=Options(consume_lag=NEVER))
    async def move(run: Run[Thing, Status]) -> Literal[Status.B]:
        raise AssertionError("never")

    @builder.timeout(Status.A, timedelta(hours=1))
    async def fire(run: Run[Thing, Status], now: datetime) -> Literal[Status.B]:
        return Status.B

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        run_id = await wf.trigger("waiting")
        await await_timeout_insert(wf, "waiting", run_id, Status.A, timeout=PATIENCE)
        clock.advance(timedelta(hours=1))
        await wf.wait_for("waiting", Status.B, timeout=PATIENCE)


async def test_what_a_worker_left_whose_clock_was_an_hour_ahead_goes_on_at_once(backend: Backend) -> None:
    """Its versions are an hour in the future, and so are the events of a run that was triggered and moved there."""
    ahead, right = FakeClock(), FakeClock()
    ahead.advance(timedelta(hours=1))
    builder = Builder("ahead", Thing, Status)
    moved: list[str] = []

    @builder.step(Status.A)
    async def first(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    @builder.callback(Status.B)
    async def go(run: Run[Thing, Status], payload: bytes) -> Literal[Status.C]:
        return Status.C

    @builder.step(Status.C)
    async def last(run: Run[Thing, Status]) -> Literal[Status.D]:
        moved.append(run.foreign_id)
        return Status.D

    wf = builder.build(backend, clock=ahead)
    async with wf.running():
        await wf.trigger("half way")
        await wf.wait_for("half way", Status.B, timeout=PATIENCE)
    await wf.callback("half way", Status.B)
    await wf.trigger("new")
    later = builder.build(backend, clock=right)
    async with later.running():
        await later.wait_for("half way", Status.D, timeout=PATIENCE)
        await later.wait_for("new", Status.B, timeout=PATIENCE)
        await later.callback("new", Status.B)
        await later.wait_for("new", Status.D, timeout=PATIENCE)
    assert moved == ["half way", "new"]
