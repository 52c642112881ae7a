"""Settings of processes and of the workflow, each seen to do what it says (R-TEST-6)."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Backoff, Builder, BuildError, ConnectorEvent, Options, OutboxOptions, Run, RunState, Workflow
from workflow.protocols import Backend
from workflow.testing import FakeClock, await_timeout_insert, wait_for
from workflow_adapters.memory import MemoryBackend, MemoryConnector

HOUR = timedelta(hours=1)


def failing(name: str, times: int, options: Options | None = None) -> Builder[Thing, Status]:
    """Fails a number of times, then goes on."""
    builder = Builder(name, Thing, Status)
    left = itertools.count()

    @builder.step(Status.A, options=options)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        if next(left) < times:
            raise RuntimeError("not yet")
        return Status.B

    return builder


async def version(wf: Workflow[Thing, Status], run_id: str, wanted: int) -> Run[Thing, Status]:
    """The run once it has this version, and it must not have gone beyond."""
    async with asyncio.timeout(20):
        while (run := await wf.get(run_id)).version < wanted:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)
    run = await wf.get(run_id)
    assert run.version == wanted
    return run


async def test_each_failure_waits_longer_by_the_engines_clock(backend: Backend) -> None:
    """R-OPT-7, R-OPTTAB-3, R-CONSUME-5: doubling from the first wait up to the cap, and nothing before."""
    clock = FakeClock()
    back_off = Backoff(first=timedelta(minutes=1), factor=2, cap=timedelta(minutes=3), jitter=0)
    wf = failing("waits", 4, Options(err_back_off=back_off)).build(backend, clock=clock)
    async with wf.running():
        run_id = await wf.trigger("key")
        for number, minutes in enumerate((1, 2, 3, 3), start=2):
            run = await version(wf, run_id, number)
            assert run.attempt == number
            clock.advance(timedelta(minutes=minutes) - timedelta(seconds=1))
            await version(wf, run_id, number)
            clock.advance(timedelta(seconds=1))
        await wf.wait_for("key", Status.B, timeout=PATIENCE)


async def test_a_plain_wait_never_grows(backend: Backend) -> None:
    clock = FakeClock()
    wf = failing("constant", 3).build(backend, clock=clock, default_options=Options(err_back_off=HOUR))
    async with wf.running():
        run_id = await wf.trigger("key")
        for number in (2, 3, 4):
            await version(wf, run_id, number)
            clock.advance(HOUR)
        await wf.wait_for("key", Status.B, timeout=PATIENCE)


async def test_without_a_threshold_a_run_is_never_paused() -> None:
    """R-MODEL-19: 0 is never."""
    wf = failing("patient", 30).build(MemoryBackend(), default_options=Options(err_back_off=timedelta(0)))
    async with wf.running():
        run_id = await wf.trigger("key")
        run = await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert run.version == 32
        assert RunState.PAUSED not in {each.run_state for each in await wf.history(run_id)}


async def test_a_run_the_engine_paused_goes_on_by_itself_after_the_time_that_was_set(backend: Backend) -> None:
    """R-OPT-5, R-PAUSE-4: not before; and its attempts begin anew."""
    clock = FakeClock()
    options = Options(pause_after_err_count=1)
    wf = failing("resumed", 1).build(backend, clock=clock, default_options=options, pause_retry=HOUR)
    async with wf.running():
        run_id = await wf.trigger("key")
        await wait_for(wf, "key", lambda run: run.run_state is RunState.PAUSED, timeout=PATIENCE)
        clock.advance(HOUR - timedelta(seconds=1))
        await version(wf, run_id, 2)
        clock.advance(timedelta(minutes=16))
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert [(run.run_state, run.attempt) for run in await wf.history(run_id)][1:3] == [
            (RunState.PAUSED, 1),
            (RunState.RUNNING, 1),
        ]


async def test_without_a_pause_retry_a_paused_run_stays(backend: Backend) -> None:
    """R-PAUSE-7."""
    clock = FakeClock()
    options = Options(pause_after_err_count=1)
    wf = failing("stays", 1).build(backend, clock=clock, default_options=options, pause_retry=None)
    async with wf.running():
        run_id = await wf.trigger("key")
        await wait_for(wf, "key", lambda run: run.run_state is RunState.PAUSED, timeout=PATIENCE)
        clock.advance(timedelta(days=30))
        await version(wf, run_id, 2)
        await wf.resume(run_id)
        await wf.wait_for("key", Status.B, timeout=PATIENCE)


async def test_a_connector_waits_until_its_events_are_old_enough() -> None:
    """R-OPTTAB-4, R-CONN-4."""
    clock = FakeClock()
    builder = failing("late", 0)
    event = ConnectorEvent(id="1", foreign_id="key", created_at=clock.now())
    called: list[datetime] = []

    @builder.connector("feed", MemoryConnector([event]), options=Options(consume_lag=HOUR))
    async def feed(wf: Workflow[Thing, Status], event: ConnectorEvent) -> None:
        called.append(clock.now())

    wf = builder.build(MemoryBackend(), clock=clock)
    async with wf.running():
        async with asyncio.timeout(20):
            while not any(when == event.created_at + HOUR for when, _, _ in clock._waiting):
                await asyncio.sleep(0.005)
        assert not called
        clock.advance(HOUR)
        async with asyncio.timeout(20):
            while not called:
                await asyncio.sleep(0.005)
    assert called == [datetime(2025, 1, 1, 1, tzinfo=UTC)]


async def test_connectors_alone_make_no_workflow() -> None:
    """R-BUILD-12."""
    builder = Builder("only fed", Thing, Status)
    builder.connector("feed", MemoryConnector())(lambda wf, event: None)
    with pytest.raises(BuildError, match="starting point"):
        builder.build(MemoryBackend())


async def test_a_workflow_that_is_run_for_the_first_time_finds_what_was_triggered_before(backend: Backend) -> None:
    """R-STEP-1: a consumer without a position reads from the beginning, and runs of other statuses wait."""
    builder = failing("earlier", 0)
    front = builder.build(backend)
    for number in range(20):
        await front.trigger(f"key {number}")
    wf = builder.build(backend)
    async with wf.running():
        for number in range(20):
            await wf.wait_for(f"key {number}", Status.B, timeout=PATIENCE)


async def test_max_in_flight_bounds_how_many_handlers_work_at_once(backend: Backend) -> None:
    builder = Builder("bounded", Thing, Status)
    working: set[str] = set()
    most = 0

    @builder.step(Status.A, options=Options(max_in_flight=3))
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        nonlocal most
        working.add(run.run_id)
        most = max(most, len(working))
        await asyncio.sleep(0.01)
        working.discard(run.run_id)
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        for number in range(12):
            await wf.trigger(f"key {number}")
        for number in range(12):
            await wf.wait_for(f"key {number}", Status.B, timeout=PATIENCE)
    assert 1 < most <= 3


async def test_w32_nothing_waits_for_a_poll(backend: Backend) -> None:
    """W-32, W-33: steps, timers and waiters of one process are woken; every safety net is an hour away."""
    builder = Builder("woken", Thing, Status)
    builder.step(Status.A, to=Status.B)(lambda run: Status.B)
    builder.timeout(Status.B, timedelta(milliseconds=30), to=Status.C)(lambda run, now: Status.C)
    builder.callback(Status.C, to=Status.D)(lambda run, payload: Status.D)
    wf = builder.build(
        backend,
        default_options=Options(polling_frequency=HOUR),
        outbox_options=OutboxOptions(polling_frequency=HOUR),
        sweep_after=HOUR,
    )
    async with wf.running():
        await wf.trigger("key")
        await wf.wait_for("key", Status.C, timeout=PATIENCE)
        await wf.callback("key", Status.C)
        await wf.wait_for("key", Status.D, timeout=PATIENCE)


async def test_w53_the_engines_clock_counts_on_every_store(backend: Backend) -> None:
    """W-53, W-54: a timer is due at its moment, not after it; times are the engine's; what was written is read."""
    clock = FakeClock(datetime(1999, 12, 31, 23, 0, 0, 123456, tzinfo=UTC))
    builder = Builder("clocks", Thing, Status)
    builder.timeout(Status.A, HOUR, to=Status.B)(lambda run, now: Status.B)
    wf = builder.build(backend, clock=clock)
    async with wf.running():
        run_id = await wf.trigger("key")
        assert (await wf.get(run_id)).created_at == datetime(1999, 12, 31, 23, 0, 0, 123456, tzinfo=UTC)
        await await_timeout_insert(wf, "key", run_id, Status.A, timeout=PATIENCE)
        assert backend.timeout_store is not None
        (armed,) = await backend.timeout_store.list("clocks", run_id=run_id)
        assert armed.expire_at == datetime(2000, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)
        clock.set(armed.expire_at - timedelta(microseconds=1))
        await asyncio.sleep(0.05)
        assert (await wf.get(run_id)).status is Status.A
        clock.set(armed.expire_at)
        run = await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert run.updated_at == armed.expire_at


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
