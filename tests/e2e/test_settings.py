"""Settings of processes and of the workflow, each seen to do what it says (R-TEST-6)."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Literal

from tests.e2e.model import PATIENCE, Status, Thing
from tests.e2e.sleepers import sleeps_until
from workflow import Backoff, Builder, Options, OutboxOptions, Run, RunState, Workflow
from workflow.protocols import Backend, TimeoutQuery
from workflow.testing import FakeClock, await_timeout_insert, wait_for
from workflow_adapters.memory import MemoryBackend

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


async def version(
    wf: Workflow[Thing, Status], clock: FakeClock, run_id: str, wanted: int, *, asleep_until: datetime | None = None
) -> Run[Thing, Status]:
    """The run once it has this version and the engine sleeps (until its due time); it must not have gone beyond."""
    async with asyncio.timeout(20):
        while (await wf.get(run_id)).version < wanted:
            await asyncio.sleep(0.005)
    if asleep_until is None:
        asleep_until = (await wf._engine.records.lookup([run_id]))[run_id].due_at
    await sleeps_until(clock, asleep_until)
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
            run = await version(wf, clock, run_id, number)
            assert run.attempt == number
            clock.advance(timedelta(minutes=minutes) - timedelta(seconds=1))
            await version(wf, clock, run_id, number)
            clock.advance(timedelta(seconds=1))
        await wf.wait_for("key", Status.B, timeout=PATIENCE)


async def test_a_plain_wait_never_grows(backend: Backend) -> None:
    clock = FakeClock()
    wf = failing("constant", 3).build(backend, clock=clock, default_options=Options(err_back_off=HOUR))
    async with wf.running():
        run_id = await wf.trigger("key")
        for number in (2, 3, 4):
            await version(wf, clock, run_id, number)
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
        # The process that resumes paused runs has looked, and looks again in a minute.
        await version(wf, clock, run_id, 2, asleep_until=clock.now() + timedelta(minutes=1))
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
        # The sweeper has looked, and looks again in half a minute.
        await version(wf, clock, run_id, 2, asleep_until=clock.now() + timedelta(seconds=30))
        await wf.resume(run_id)
        await wf.wait_for("key", Status.B, timeout=PATIENCE)


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
    threes = asyncio.Barrier(3)
    most = 0

    @builder.step(Status.A, options=Options(max_in_flight=3))
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        nonlocal most
        working.add(run.run_id)
        most = max(most, len(working))
        await threes.wait()
        working.discard(run.run_id)
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        for number in range(12):
            await wf.trigger(f"key {number}")
        for number in range(12):
            await wf.wait_for(f"key {number}", Status.B, timeout=PATIENCE)
    assert most == 3


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
        (armed,) = await backend.timeout_store.list(TimeoutQuery(workflow_name="clocks", run_id=run_id))
        assert armed.expire_at == datetime(2000, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)
        await sleeps_until(clock, armed.expire_at)
        clock.set(armed.expire_at - timedelta(microseconds=1))
        await sleeps_until(clock, armed.expire_at)
        assert (await wf.get(run_id)).status is Status.A
        clock.set(armed.expire_at)
        run = await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert run.updated_at == armed.expire_at
