"""Timers: each belongs to one visit of one run, and fires once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from tests.e2e.model import PATIENCE, Status, Thing, waiting
from workflow import (
    Builder,
    Options,
    Run,
    RunState,
)
from workflow.protocols import Backend, TimeoutQuery
from workflow.testing import FakeClock, await_timeout_insert, wait_for

HOUR = timedelta(hours=1)


async def test_w19_a_timer_of_an_earlier_run_leaves_the_next_one_alone(backend: Backend) -> None:
    """W-19."""
    clock = FakeClock()
    builder = waiting("w19")

    @builder.timeout(Status.A, timedelta(hours=1))
    async def expire(run: Run[Thing, Status], now: datetime) -> Literal[Status.C]:
        return Status.C

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        first = await wf.trigger("key")
        await await_timeout_insert(wf, "key", first, Status.A, timeout=PATIENCE)
        clock.advance(timedelta(minutes=58))
        await wf.cancel(first)
        second = await wf.trigger("key")
        await await_timeout_insert(wf, "key", second, Status.A, timeout=PATIENCE)
        clock.advance(timedelta(minutes=2))
        assert backend.timeout_store is not None
        w19 = TimeoutQuery(workflow_name="w19")
        while any(timer.run_id == first for timer in await backend.timeout_store.list(w19)):
            await asyncio.sleep(0.01)
        assert (await wf.get(second)).status is Status.A
        clock.advance(timedelta(minutes=58))
        await wf.wait_for("key", Status.C, run_id=second, timeout=PATIENCE)


async def test_w20_pausing_and_resuming_neither_doubles_nor_restarts_a_timer(backend: Backend) -> None:
    """W-20."""
    clock = FakeClock()
    builder = waiting("w20")
    fired: list[datetime] = []

    @builder.timeout(Status.A, timedelta(hours=1))
    async def expire(run: Run[Thing, Status], now: datetime) -> Literal[Status.C]:
        fired.append(now)
        return Status.C

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        run_id = await wf.trigger("key")
        await await_timeout_insert(wf, "key", run_id, Status.A, timeout=PATIENCE)
        await wf.pause(run_id)
        clock.advance(timedelta(minutes=59))
        await wf.resume(run_id)
        clock.advance(timedelta(minutes=1))
        await wf.wait_for("key", Status.C, timeout=PATIENCE)
        assert backend.timeout_store is not None
        while await backend.timeout_store.list(TimeoutQuery(workflow_name="w20", run_id=run_id, completed=True)):
            await asyncio.sleep(0.01)
        assert len(fired) == 1


async def test_a_status_with_timers_has_its_two_processes_and_each_timer_its_own_options(backend: Backend) -> None:
    """R-TIMEOUT-1, R-TIMEOUT-13, R-OPTTAB-6, W-15: a failing timer backs off, is reported, and pauses its run."""
    clock = FakeClock()
    builder = Builder("timers", Thing, Status)
    calls: list[str] = []

    @builder.timeout(Status.A, timedelta(hours=1), options=Options(pause_after_err_count=2, err_back_off=timedelta(0)))
    async def fails(run: Run[Thing, Status], now: Any) -> Literal[Status.B]:
        calls.append(f"fails {run.attempt}")
        raise RuntimeError(f"number {len(calls)}")

    @builder.timeout(Status.A, timedelta(hours=2))
    async def moves(run: Run[Thing, Status], now: Any) -> Literal[Status.B]:
        calls.append("moves")
        return Status.B

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        assert {"a-timeout-consumer", "a-timeout-auto-inserter-consumer"} < set(wf.states())
        run_id = await wf.trigger("key")
        await await_timeout_insert(wf, "key", run_id, Status.A, timeout=PATIENCE)
        clock.advance(timedelta(hours=1))
        paused = await wait_for(wf, "key", lambda run: run.run_state is RunState.PAUSED, timeout=PATIENCE)
        assert paused.meta.run_state_reason == "max error retry threshold hit - automatically paused"
        assert "number 2" in paused.last_error
        assert calls == ["fails 1", "fails 2"]


async def test_a_timer_may_say_that_there_is_none_or_fail_and_be_tried_again(backend: Backend) -> None:
    """R-TIMEOUT-2, R-TIMEOUT-3, R-API-8, W-20: naive moments are no moments; one in the past fires at once."""
    clock = FakeClock()
    builder = Builder("asked", Thing, Status)
    answers: list[object] = [RuntimeError("not now"), datetime(2030, 1, 1), 5, clock.now() - HOUR]
    entered: list[datetime] = []

    @builder.timeout(Status.A, lambda run, now: None)
    async def never(run: Run[Thing, Status], now: datetime) -> Literal[Status.C]:
        return Status.C

    async def when(run: Run[Thing, Status], now: datetime) -> datetime | None:
        entered.append(now)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    @builder.timeout(Status.A, when)
    async def past(run: Run[Thing, Status], now: datetime) -> Literal[Status.B]:
        return Status.B

    wf = builder.build(backend, clock=clock, default_options=Options(err_back_off=timedelta(0)))
    async with wf.running():
        await wf.trigger("key")
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
    assert entered == [datetime(2025, 1, 1, tzinfo=UTC)] * 4


async def test_a_timer_whose_handler_outlasts_its_claim_is_not_started_again(backend: Backend) -> None:
    clock = FakeClock()
    builder = Builder("claims", Thing, Status)
    started: list[str] = []
    release = asyncio.Event()

    @builder.timeout(Status.A, timedelta(hours=1))
    async def slow(run: Run[Thing, Status], now: datetime) -> Literal[Status.B]:
        started.append(run.foreign_id)
        if run.foreign_id == "long":
            await release.wait()
        return Status.B

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        long = await wf.trigger("long")
        await await_timeout_insert(wf, "long", long, Status.A, timeout=PATIENCE)
        clock.advance(timedelta(hours=1))
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while not started:
                await asyncio.sleep(0.01)
        for number in range(3):
            # Past the claim; what became due meanwhile shows that the poller has looked.
            later = await wf.trigger(f"later-{number}")
            await await_timeout_insert(wf, f"later-{number}", later, Status.A, timeout=PATIENCE)
            clock.advance(timedelta(hours=1))
            await wf.wait_for(f"later-{number}", Status.B, run_id=later, timeout=PATIENCE)
        assert started.count("long") == 1
        release.set()
        run = await wf.wait_for("long", Status.B, run_id=long, timeout=PATIENCE)
        assert run.version == 2
