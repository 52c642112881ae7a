"""Schedules: when they fire, what they skip, and that no slot is lost or fired twice; on every backend."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, Options, ProcessState, Run, RunState, Unavailable, Workflow
from workflow._declare.handlers import ScheduleDeclaration
from workflow._processes.schedule import Scheduled
from workflow.protocols import Backend
from workflow.testing import FakeClock, require
from workflow_adapters.memory import MemoryBackend

START = datetime(2025, 1, 1, 10, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
QUICK = Options(err_back_off=timedelta(milliseconds=10))


def working(name: str = "scheduled") -> Builder[Thing, Status]:
    builder = Builder(name, Thing, Status)

    @builder.step(Status.A, to=Status.B)
    async def work(run: Run[Thing, Status]) -> Status:
        return Status.B

    return builder


async def runs(wf: Workflow[Thing, Status], count: int, foreign_id: str = "key") -> list[Run[Thing, Status]]:
    """The runs of a foreign ID, once there are as many and the last is completed."""
    async with asyncio.timeout(20):
        while True:
            found = await wf.list(foreign_ids=[foreign_id], run_states=[RunState.COMPLETED])
            if len(found) >= count:
                return list(found)
            await asyncio.sleep(0.01)


async def asleep(clock: FakeClock, until: datetime) -> None:
    """Wait until a process waits for this moment on the clock."""
    async with asyncio.timeout(20):
        while not any(when == until for when, _, _ in clock._waiting):
            await asyncio.sleep(0.005)


async def test_a_schedule_in_a_running_workflow_is_its_process_and_ends_with_it(backend: Backend) -> None:
    """R-SCHED-2, R-SCHED-10, R-TEST-3: stopping does not wait for the caller, and every slot gets the value."""
    clock = FakeClock(START)
    wf = working().build(backend, clock=clock)
    async with wf.running():
        call = asyncio.create_task(wf.schedule("key", "@hourly", initial_value=Thing(count=5)))
        await asleep(clock, START.replace(hour=11, minute=0))
        assert "key-scheduler-@hourly" in wf.states()
        clock.set(START.replace(hour=11, minute=0))
        await require(wf, "key", Status.B, Thing(count=5), timeout=PATIENCE)
        assert not call.done()
        await wf.stop()
        await asyncio.wait_for(call, 10)
    assert wf.states()["key-scheduler-@hourly"] is ProcessState.SHUTDOWN


async def test_cancelling_the_call_leaves_the_schedule_to_the_workflow(backend: Backend) -> None:
    clock = FakeClock(START)
    wf = working().build(backend, clock=clock)
    async with wf.running():
        call = asyncio.create_task(wf.schedule("key", "@hourly"))
        await asleep(clock, START.replace(hour=11, minute=0))
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        clock.advance(HOUR)
        await runs(wf, 1)
        again = asyncio.create_task(wf.schedule("key", "@hourly"))
        await asyncio.sleep(0)
        assert [name for name in wf.states() if "scheduler" in name] == ["key-scheduler-@hourly"]
    await asyncio.wait_for(again, 10)


async def test_a_schedule_outside_of_a_running_workflow_works_until_it_is_cancelled(backend: Backend) -> None:
    clock = FakeClock(START)
    front, worker = working().build(backend, clock=clock), working().build(backend, clock=clock)
    async with worker.running():
        call = asyncio.create_task(front.schedule("key", "@every 1h30m"))
        await asleep(clock, START + timedelta(minutes=90))
        clock.advance(timedelta(minutes=90))
        await runs(worker, 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_filter_decides_about_a_slot_and_an_error_is_no_answer(backend: Backend) -> None:
    """R-SCHED-7, R-SCHED-11: sync and async filters, called without arguments."""
    clock = FakeClock(datetime(2023, 5, 15, tzinfo=UTC))
    answers: list[Any] = [False, RuntimeError("no answer"), RuntimeError("still none"), True]
    asked: list[datetime] = []

    async def allowed() -> bool:
        asked.append(clock.now())
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    wf = working().build(backend, clock=clock, default_options=QUICK)
    async with wf.running():
        call = asyncio.create_task(wf.schedule("key", "@monthly", filter=allowed))
        june, july, august = (datetime(2023, month, 1, tzinfo=UTC) for month in (6, 7, 8))
        await asleep(clock, june)
        clock.set(june)
        await asleep(clock, july)
        assert len(asked) == 1
        assert not await wf.list()
        clock.set(july)
        found = await runs(wf, 1)
        assert (len(asked), found[0].created_at) == (4, july)
        await asleep(clock, august)
    await call


async def test_after_downtime_one_slot_is_made_up_for_and_no_more(backend: Backend) -> None:
    """R-SCHED-4, R-SCHED-6: never a burst; slots count from the latest run."""
    clock = FakeClock(START)
    builder = working()
    builder.schedule("key", "@hourly")
    wf = builder.build(backend, clock=clock)
    async with wf.running():
        await asleep(clock, START.replace(hour=11, minute=0))
        clock.set(START.replace(hour=11, minute=0))
        await runs(wf, 1)
    clock.advance(5 * HOUR)
    async with builder.build(backend, clock=clock).running() as again:
        assert len(await runs(again, 2)) == 2
        await asleep(clock, START.replace(hour=17, minute=0))
        assert len(await again.list()) == 2


async def test_a_trigger_that_fails_does_not_lose_its_slot() -> None:
    """R-SCHED-8, R-SCHED-9, W-11, W-26: nor does one that fails between two others."""
    clock = FakeClock(START)
    backend = MemoryBackend()
    wf = working().build(backend, clock=clock, default_options=QUICK)
    store, failures = backend.record_store.store, [Unavailable("away"), ValueError("refused"), ValueError("refused")]
    refused = 0

    async def failing(changes: Any) -> Any:
        nonlocal refused
        triggers = any(getattr(change, "record", None) and change.record.version == 1 for change in changes)
        if triggers and failures and clock.now().hour == 12:
            refused += 1
            raise failures.pop()
        return await store(changes)

    backend.record_store.store = failing  # type: ignore[method-assign]
    async with wf.running():
        call = asyncio.create_task(wf.schedule("key", "@hourly"))
        for hour in (11, 12, 13):
            await asleep(clock, START.replace(hour=hour, minute=0))
            clock.set(START.replace(hour=hour, minute=0))
            found = await runs(wf, hour - 10)
            assert [run.created_at.hour for run in found] == list(range(11, hour + 1))
    await call
    assert refused == 3


async def test_a_slot_that_was_decided_is_not_decided_again_after_an_error() -> None:
    """The filter said no at 11; the error at 12 must not bring 11 back."""
    clock = FakeClock(START)
    asked: list[int] = []

    def allowed() -> bool:
        asked.append(clock.now().hour)
        if asked == [11]:
            return False
        if asked == [11, 12]:
            raise RuntimeError("no answer")
        return True

    wf = working().build(MemoryBackend(), clock=clock, default_options=QUICK)
    async with wf.running():
        call = asyncio.create_task(wf.schedule("key", "@hourly", filter=allowed))
        for hour in (11, 12):
            await asleep(clock, START.replace(hour=hour, minute=0))
            clock.set(START.replace(hour=hour, minute=0))
        found = await runs(wf, 1)
        await asleep(clock, START.replace(hour=13, minute=0))
        expected = working().build(MemoryBackend(), clock=clock)
        slot = START.replace(hour=12, minute=0)
        scheduled = Scheduled.of(ScheduleDeclaration("key", "@hourly", "UTC", None, None))
        assert found[0].run_id == scheduled.run_id(expected.name, slot)
        assert asked == [11, 12, 12]
    await call


async def test_a_live_run_makes_its_slot_be_skipped(backend: Backend) -> None:
    """R-SCHED-9."""
    clock = FakeClock(START)
    builder = Builder("busy", Thing, Status)
    builder.callback(Status.A, to=Status.B)(lambda run, payload: Status.B)
    wf = builder.build(backend, clock=clock)
    async with wf.running():
        call = asyncio.create_task(wf.schedule("key", "@hourly"))
        for hour in (11, 12, 13):
            await asleep(clock, START.replace(hour=hour, minute=0))
            clock.set(START.replace(hour=hour, minute=0))
            await asleep(clock, START.replace(hour=hour + 1, minute=0))
            if hour == 12:
                await wf.callback("key", Status.A)
        assert [run.created_at.hour for run in await wf.list()] == [11, 13]
    await call


async def test_schedules_whose_names_read_alike_all_fire(backend: Backend) -> None:
    """W-41: blanks and capitals are lost in names of roles and processes, time zones are not part of them."""
    clock = FakeClock(START)
    builder = working()
    builder.schedule("A b", "0 11 * * *")
    builder.schedule("a_b", "0 11 * * *")
    builder.schedule("zoned", "0 11 * * *")
    builder.schedule("zoned", "0 11 * * *", timezone="Etc/GMT-1")
    wf = builder.build(backend, clock=clock)
    async with wf.running():
        names = [name for name in wf.states() if "scheduler" in name]
        assert len(names) == 4, names
        assert "a_b-scheduler-0_11_*_*_*" in names
        await asleep(clock, START.replace(hour=11, minute=0))
        clock.set(START.replace(hour=11, minute=0))
        for key in ("A b", "a_b", "zoned"):
            await runs(wf, 1, key)
        clock.set(START.replace(hour=10, minute=0) + timedelta(days=1))
        await runs(wf, 2, "zoned")


@pytest.mark.parametrize(
    ("zone", "before", "slots"),
    [
        # the clocks skip 02:30 (01:30 in London): it runs at the shifted time
        ("America/New_York", "2025-03-08T12:00Z", ["2025-03-09T07:30Z", "2025-03-10T06:30Z"]),
        # they repeat 01:30: it runs once, the first time
        ("America/New_York", "2025-11-01T12:00Z", ["2025-11-02T05:30Z", "2025-11-03T06:30Z"]),
        ("Europe/London", "2025-03-29T12:00Z", ["2025-03-30T01:30Z", "2025-03-31T00:30Z"]),
        ("Europe/London", "2025-10-25T12:00Z", ["2025-10-26T00:30Z", "2025-10-27T01:30Z"]),
        ("America/Santiago", "2025-09-06T12:00Z", ["2025-09-07T04:30Z", "2025-09-08T03:30Z"]),
        ("America/Santiago", "2025-04-05T12:00Z", ["2025-04-06T02:30Z", "2025-04-07T03:30Z"]),
    ],
)
async def test_a_schedule_fires_once_at_the_times_of_its_zone_when_clocks_change(
    zone: str, before: str, slots: list[str]
) -> None:
    clock = FakeClock(datetime.fromisoformat(before))
    spec = {"America/New_York": "30 2 * * *", "Europe/London": "30 1 * * *", "America/Santiago": "30 0 * * *"}[zone]
    if zone == "America/New_York" and "-11-" in before:
        spec = "30 1 * * *"
    if zone == "America/Santiago" and "-04-" in before:
        spec = "30 23 * * *"
    wf = working().build(MemoryBackend(), clock=clock)
    async with wf.running():
        call = asyncio.create_task(wf.schedule("key", spec, timezone=zone))
        for number, slot in enumerate(map(datetime.fromisoformat, slots), start=1):
            await asleep(clock, slot)
            clock.set(slot)
            assert len(await runs(wf, number)) == number
    await call
