"""Running and stopping: processes and their states, draining, a second run, several workflows on one backend."""

import asyncio
import itertools
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, ConnectorEvent, Options, OutboxOptions, ProcessState, Run, RunState, Unavailable, Workflow
from workflow.protocols import Backend, Lease, RoleScheduler
from workflow.testing import FakeClock, await_timeout_insert, wait_for
from workflow_adapters.memory import MemoryBackend, MemoryConnector

QUICK = Options(err_back_off=timedelta(milliseconds=10))


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


async def test_connectors_have_as_many_shards_as_a_default_says() -> None:
    """R-PROC-4, R-ROLE-3, W-3."""
    builder = two_steps("Example")
    builder.connector("consume-other-stream", MemoryConnector())(lambda wf, event: None)
    wf = builder.build(MemoryBackend(), default_options=Options(parallel_count=2))
    async with wf.running():
        found = [name for name in wf.states() if "connector" in name]
        assert found == [f"consume-other-stream-connector-to-example-consumer-{shard}-of-2" for shard in (1, 2)]


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


async def test_cancelling_run_is_like_stopping_and_it_may_run_again(backend: Backend) -> None:
    """R-PROC-13, R-PROC-14."""
    builder = Builder("cancelled", Thing, Status)
    begun, cancelled = asyncio.Event(), []

    @builder.step(Status.A)
    async def hang(run: Run[Thing, Status]) -> Literal[Status.B]:
        if not cancelled:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(run.attempt)
                raise
        return Status.B

    wf = builder.build(backend)
    run_id = await wf.trigger("key")
    task = asyncio.create_task(wf.run())
    await asyncio.wait_for(begun.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 20)
    assert set(wf.states().values()) == {ProcessState.SHUTDOWN}
    assert cancelled == [1]
    assert (await wf.get(run_id)).attempt == 1
    async with wf.running():
        run = await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert run.version == 2


async def test_a_second_run_waits_for_the_first_to_end(backend: Backend) -> None:
    """R-PROC-1: it starts nothing twice."""
    wf = two_steps("second run").build(backend)
    first = asyncio.create_task(wf.run())
    second = asyncio.create_task(wf.run())
    await states_are(wf, ProcessState.RUNNING)
    assert not second.done()
    await wf.stop()
    await asyncio.wait_for(asyncio.gather(first, second), 20)
    assert set(wf.states().values()) == {ProcessState.SHUTDOWN}


async def test_stopping_is_harmless_at_any_time_and_from_many_sides() -> None:
    """R-PROC-12, R-TEST-7: before a run, twice, at once, and while it starts; a hundred times."""
    wf = two_steps().build(MemoryBackend())
    await wf.stop()
    for number in range(100):
        run = asyncio.create_task(wf.run())
        for _ in range(number % 5):
            await asyncio.sleep(0)
        stops = [asyncio.create_task(wf.stop()) for _ in range(3)]
        await asyncio.gather(*stops)
        if not run.done():
            # it had not begun when the others looked
            await asyncio.sleep(0)
            await wf.stop()
        await asyncio.wait_for(run, 10)
    await wf.stop()
    async with wf.running():
        await wf.trigger("key")
        await wf.wait_for("key", Status.C, timeout=PATIENCE)


async def test_a_drain_ends_although_a_handler_does_not(backend: Backend) -> None:
    """W-36: the attempt does not count, and the next holder takes over at once."""
    builder = Builder("stubborn", Thing, Status)
    begun = asyncio.Event()

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        if not begun.is_set():
            begun.set()
            await asyncio.Event().wait()
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("key")
        await asyncio.wait_for(begun.wait(), 20)
        await asyncio.wait_for(wf.stop(timedelta(milliseconds=50)), 10)
        assert (await wf.get(run_id)).version == 1
    async with wf.running():
        assert (await wf.wait_for("key", Status.B, timeout=PATIENCE)).version == 2


async def test_leaving_the_context_by_an_error_stops_and_passes_the_error_on(backend: Backend) -> None:
    wf = two_steps("errors").build(backend)

    async def fail() -> None:
        async with wf.running() as running:
            assert running is wf
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert set(wf.states().values()) == {ProcessState.SHUTDOWN}


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


async def test_a_hook_is_called_for_its_run_state_and_the_last_declared_counts(backend: Backend) -> None:
    """R-HOOK-1, R-HOOK-4, R-HOOK-5, R-BUILD-9, R-STATE-6: pauses and cancellations by verbs too; none for erasures."""
    builder = Builder("hooked", Thing, Status)
    told: asyncio.Queue[tuple[str, RunState]] = asyncio.Queue()
    builder.callback(Status.A, to=Status.B)(lambda run, payload: Status.B)

    @builder.on_pause
    async def replaced(run: Run[Thing, Status]) -> None:
        told.put_nowait(("replaced", run.run_state))

    @builder.on_pause
    async def paused(run: Run[Thing, Status]) -> None:
        told.put_nowait(("pause", run.run_state))

    @builder.on_cancel
    async def cancelled(run: Run[Thing, Status]) -> None:
        told.put_nowait(("cancel", run.run_state))

    @builder.on_complete
    async def completed(run: Run[Thing, Status]) -> None:
        told.put_nowait(("complete", run.run_state))

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("key")
        for act, wanted in (
            (lambda: wf.pause(run_id), ("pause", RunState.PAUSED)),
            (lambda: wf.resume(run_id), None),
            (lambda: wf.cancel(run_id), ("cancel", RunState.CANCELLED)),
            (lambda: wf.delete_data(run_id), None),
            (lambda: wf.trigger("key"), None),
            (lambda: wf.callback("key", Status.A), ("complete", RunState.COMPLETED)),
        ):
            await act()
            if wanted is not None:
                assert await asyncio.wait_for(told.get(), 20) == wanted
        await wait_for(wf, "key", lambda run: run.run_state is RunState.COMPLETED, timeout=PATIENCE)
        assert told.empty()


async def test_a_connector_opens_its_source_again_and_buries_what_never_works(caplog: pytest.LogCaptureFixture) -> None:
    """R-CONN-1, R-CONN-4, R-CONN-6, R-MODEL-16: a sync function too; the others go on."""
    clock = FakeClock()
    events = [
        ConnectorEvent(id=str(n), foreign_id=f"user {n}", type="seen", headers={"n": str(n)}, created_at=clock.now())
        for n in range(3)
    ]
    memory = MemoryBackend()
    builder = two_steps("connected")
    tries: dict[str, int] = {}

    @builder.connector("feed", MemoryConnector(events), options=QUICK)
    async def feed(wf: Workflow[Thing, Status], event: ConnectorEvent) -> None:
        tries[event.id] = tries.get(event.id, 0) + 1
        if event.id == "0" or (event.id == "1" and tries["1"] < 3):
            raise ValueError(event.headers["n"])
        await wf.trigger(event.foreign_id)

    wf = builder.build(memory)
    async with wf.running():
        for key in ("user 1", "user 2"):
            await wf.wait_for(key, Status.C, timeout=PATIENCE)
        async with asyncio.timeout(20):
            while "0" not in tries or tries["0"] < 8:
                await asyncio.sleep(0.01)
    assert tries["1"] == 3
    assert "connector feed failed on event 0" in caplog.text


async def test_an_error_of_the_store_while_running_is_reported_and_overcome(caplog: pytest.LogCaptureFixture) -> None:
    """R-PROC-9, R-PROC-10, R-PROC-16, R-OUTBOX-5, R-CONSUME-1: the process comes back from where it was."""
    backend = MemoryBackend()
    streamer, send, failures = (
        backend.event_streamer,
        backend.event_streamer.send,
        [RuntimeError("one"), OSError("two")],
    )

    async def failing(events: Any) -> None:
        if failures:
            raise failures.pop()
        await send(events)

    streamer.send = failing  # type: ignore[method-assign]
    front = two_steps("store errors").build(backend)
    await front.trigger("key")
    options = OutboxOptions(err_back_off=timedelta(milliseconds=10))
    wf = two_steps("store errors").build(backend, outbox_options=options)
    with caplog.at_level(logging.ERROR, logger="workflow"):
        async with wf.running():
            await wf.wait_for("key", Status.C, timeout=PATIENCE)
            async with asyncio.timeout(20):
                while failures:
                    await asyncio.sleep(0.01)
    texts = [record.getMessage() for record in caplog.records if "run error" in record.getMessage()]
    assert len(texts) == 2
    assert all("[role=store_errors-outbox-consumer]" in text and "[process=outbox-consumer]" in text for text in texts)


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


async def test_failures_are_counted_across_restarts_whatever_their_text(backend: Backend) -> None:
    """R-PAUSE-1, R-PAUSE-2, W-16: each attempt in a workflow of its own."""
    attempts = itertools.count(1)

    def build() -> Workflow[Thing, Status]:
        builder = Builder("restarted", Thing, Status)

        @builder.step(Status.A)
        async def fail(run: Run[Thing, Status]) -> Literal[Status.B]:
            raise ValueError(f"text {next(attempts)}")

        options = Options(err_back_off=timedelta(hours=1), pause_after_err_count=3)
        return builder.build(backend, default_options=options, clock=clock)

    clock = FakeClock()
    run_id = await build().trigger("key")
    for attempt in (2, 3, 3):
        wf = build()
        async with wf.running():
            wanted = (attempt, RunState.PAUSED if clock.now().hour == 2 else RunState.RUNNING)
            async with asyncio.timeout(20):
                while ((run := await wf.get(run_id)).attempt, run.run_state) != wanted:
                    await asyncio.sleep(0.01)
        clock.advance(timedelta(hours=1))
    assert next(attempts) == 4
    assert [v.last_error.splitlines()[0] for v in (await wf.history(run_id))[1:]] == [
        "ValueError: text 1",
        "ValueError: text 2",
        "ValueError: text 3",
    ]


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
