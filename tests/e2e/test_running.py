"""Running and stopping: processes and their states, draining, a second run, several workflows on one backend."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, Options, OutboxOptions, ProcessState, Run, Unavailable, Workflow
from workflow.protocols import Backend, Holding, Lease, Member, RoleScheduler
from workflow_adapters.memory import MemoryBackend


def two_steps(name: str = "two steps", options: Options | None = None) -> Builder[Thing, Status]:
    builder = Builder(name, Thing, Status)

    @builder.step(Status.A, options=options)
    async def first(run: Run[Thing, Status]) -> Literal[Status.B]:
        run.object.text += "A"
        return Status.B

    @builder.step(Status.B)
    async def second(run: Run[Thing, Status]) -> Literal[Status.C]:
        run.object.text += "B"
        return Status.C

    return builder


class Gate(RoleScheduler):
    """Roles that are withheld until the gate is opened."""

    def __init__(self, inner: RoleScheduler) -> None:
        self.inner, self.open, self.asked = inner, asyncio.Event(), 0
        self.failures: list[Exception] = []

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        self.asked += 1
        if self.failures:
            raise self.failures.pop()
        await self.open.wait()
        async with self.inner.hold(role, group=group) as lease:
            yield lease

    async def members(self) -> Sequence[Member]:
        return await self.inner.members()

    async def holdings(self) -> Sequence[Holding]:
        return await self.inner.holdings()


def gated() -> tuple[Backend, Gate]:
    memory = MemoryBackend()
    gate = Gate(memory.role_scheduler)
    return Backend(memory.record_store, memory.event_streamer, gate, memory.timeout_store), gate


async def states_are(wf: Workflow[Any, Any], wanted: ProcessState) -> None:
    async with asyncio.timeout(20):
        while set(wf.states().values()) != {wanted}:
            await asyncio.sleep(0.005)


async def test_processes_are_idle_without_their_role_then_running_then_shut_down() -> None:
    """R-PROC-1, R-PROC-5, R-PROC-11, R-PROC-15, R-METRIC-9: launched is not the same as holding a role."""
    backend, gate = gated()
    wf = two_steps().build(backend)
    assert wf.states() == {}
    async with wf.running():
        assert set(wf.states().values()) == {ProcessState.IDLE}
        wf.states().clear()
        gate.open.set()
        await states_are(wf, ProcessState.RUNNING)
        assert set(wf.states()) == {
            "a-consumer-1-of-1",
            "b-consumer-1-of-1",
            "outbox-consumer",
            "delete-consumer",
            "paused-records-retry-consumer",
            "sweep-consumer",
        }
    assert set(wf.states().values()) == {ProcessState.SHUTDOWN}


async def test_a_standby_stops_at_once_although_its_roles_are_never_granted() -> None:
    """R-PROC-7, W-35."""
    backend, _ = gated()
    wf = two_steps().build(backend)
    async with asyncio.timeout(10):
        async with wf.running():
            pass
    assert set(wf.states().values()) == {ProcessState.SHUTDOWN}


async def test_a_role_scheduler_that_fails_is_asked_again_after_a_back_off() -> None:
    """R-PROC-8, W-10."""
    backend, gate = gated()
    gate.open.set()
    gate.failures = [TimeoutError("asleep"), Unavailable("away"), RuntimeError("broken")]
    wf = two_steps().build(backend)
    async with wf.running():
        await states_are(wf, ProcessState.RUNNING)
        assert gate.asked == len(wf.states()) + 3
        await wf.trigger("key")
        await wf.wait_for("key", Status.C, timeout=PATIENCE)


@pytest.mark.parametrize(("own", "default", "shards"), [(None, None, 1), (3, None, 3), (None, 2, 2), (1, 2, 1)])
async def test_shards_are_the_steps_own_or_the_default(own: int | None, default: int | None, shards: int) -> None:
    """R-PROC-3, R-OPT-1, R-OPTTAB-1."""
    options = Options(parallel_count=own) if own else None
    builder = two_steps(options=options)
    wf = builder.build(MemoryBackend(), default_options=Options(parallel_count=default) if default else Options())
    async with wf.running():
        found = [name for name in wf.states() if name.startswith("a-consumer")]
        assert found == [f"a-consumer-{index}-of-{shards}" for index in range(1, shards + 1)]


async def test_processes_that_are_not_wanted_are_not_there() -> None:
    """R-API-4, R-OPT-5, R-OPTTAB-9, R-PAUSE-7, R-OUTBOX-7, R-TEST-3, R-TIMEOUT-14: no relay, no retry, no timers."""
    wf = two_steps().build(MemoryBackend(), outbox=False, pause_retry=None)
    async with wf.running():
        assert set(wf.states()) == {"a-consumer-1-of-1", "b-consumer-1-of-1", "delete-consumer", "sweep-consumer"}


async def test_w7_without_a_relay_options_of_it_do_not_bring_it_back() -> None:
    """W-7; R-OUTBOX-7: the sweeper and the fast lane still move every run."""
    wf = two_steps().build(
        MemoryBackend(),
        outbox=False,
        outbox_options=OutboxOptions(limit=5),
        sweep_after=timedelta(milliseconds=100),
    )
    async with wf.running():
        assert "outbox-consumer" not in wf.states()
        await wf.trigger("key")
        await wf.wait_for("key", Status.C, timeout=PATIENCE)


async def test_one_process_triggers_and_another_consumes(backend: Backend) -> None:
    """Every verb but run works where no consumer runs; R-AWAIT-1, R-AWAIT-9, R-CALLBACK-1."""
    front, worker = two_steps("split").build(backend), two_steps("split").build(backend)
    async with worker.running():
        run_id = await front.trigger("key")
        waiting = asyncio.create_task(front.wait_for("key", Status.C, run_id=run_id, timeout=PATIENCE))
        assert (await waiting).object.text == "AB"
        assert front.states() == {}
    await front._engine.news.close()


async def test_workflows_whose_names_read_alike_do_not_touch_each_others_runs(backend: Backend) -> None:
    """W-41, R-ROLE-1: blanks and capitals are lost in topics and roles."""
    names = ("pay out", "pay_out", "Pay Out")
    workflows = {}
    for name in names:
        builder = Builder(name, Thing, Status)

        @builder.step(Status.A)
        async def work(run: Run[Thing, Status], name: str = name) -> Literal[Status.B]:
            assert run.workflow_name == name
            run.object.text = name
            return Status.B

        @builder.timeout(Status.B, timedelta(0))
        async def later(run: Run[Thing, Status], now: Any, name: str = name) -> Literal[Status.C]:
            assert run.workflow_name == name
            return Status.C

        workflows[name] = builder.build(backend)
    async with workflows["pay out"].running(), workflows["pay_out"].running(), workflows["Pay Out"].running():
        for number, (name, wf) in itertools.product(range(5), workflows.items()):
            await wf.trigger(f"key {number}", run_id=f"{name} {number}")
        for number, (name, wf) in itertools.product(range(5), workflows.items()):
            run = await wf.wait_for(f"key {number}", Status.C, timeout=PATIENCE)
            assert (run.object.text, run.run_id, run.last_error) == (name, f"{name} {number}", "")


async def test_signal_handlers_and_threads_of_the_application_are_left_alone() -> None:
    import signal

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    threads = threading.active_count()
    wf = two_steps().build(MemoryBackend())
    async with wf.running():
        assert {number: signal.getsignal(number) for number in before} == before
        assert threading.active_count() == threads
    with suppress(ProcessLookupError):
        assert {number: signal.getsignal(number) for number in before} == before
