"""Steps, callbacks, verbs and failures, from trigger to the end, on every backend."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import (
    Builder,
    ConnectorEvent,
    Decision,
    InvalidPayload,
    InvalidRunState,
    NotWaiting,
    Options,
    Run,
    RunFinished,
    RunState,
    Workflow,
    WorkflowInProgress,
)
from workflow.protocols import Backend
from workflow.testing import require, trigger_callback_on, wait_for
from workflow.verify import verify
from workflow_adapters.memory import MemoryConnector

QUICK = Options(err_back_off=timedelta(milliseconds=10))


async def test_a_run_passes_every_step_and_its_history_shows_it(backend: Backend) -> None:
    """R-TRACE-1, R-EX-1."""
    builder = Builder("passing", Thing, Status)

    @builder.step(Status.A, to=Status.B)
    async def first(run: Run[Thing, Status]) -> Status:
        run.object.count += 1
        return Status.B

    @builder.step(Status.B, to=Status.C)
    def second(run: Run[Thing, Status]) -> Status:
        run.object.text = "from a thread"
        return Status.C

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("one")
        await require(wf, "one", Status.B, Thing(count=1), timeout=PATIENCE)
        await require(wf, "one", Status.C, Thing(count=1, text="from a thread"), timeout=PATIENCE)
        history = await wf.history(run_id)
        assert [version.run_state for version in history] == [
            RunState.INITIATED,
            RunState.RUNNING,
            RunState.COMPLETED,
        ]
        assert [version.version for version in history] == [1, 2, 3]
        report = await verify(backend.record_store, wf, acknowledged={run_id: 3})
        assert not report.violations


async def test_many_runs_at_once_all_complete(backend: Backend) -> None:
    """R-TEST-4: several shards, many runs."""
    builder = Builder("many", Thing, Status)

    @builder.step(Status.A, to=Status.B, options=Options(parallel_count=3))
    async def first(run: Run[Thing, Status]) -> Status:
        await asyncio.sleep(0)
        return Status.B

    @builder.step(Status.B, to=Status.C)
    async def second(run: Run[Thing, Status]) -> Status:
        return Status.C

    wf = builder.build(backend)
    async with wf.running():
        run_ids = await asyncio.gather(*(wf.trigger(f"run {number}") for number in range(200)))
        await asyncio.gather(
            *(wf.wait_for(f"run {n}", Status.C, run_id=run_id, timeout=PATIENCE) for n, run_id in enumerate(run_ids))
        )
        report = await verify(backend.record_store, wf, acknowledged=dict.fromkeys(run_ids, 3))
        assert not report.violations


async def test_save_and_repeat_runs_the_step_again_with_what_was_saved(backend: Backend) -> None:
    """R-UPDATE-3: a hundred times."""
    builder = Builder("repeating", Thing, Status)

    @builder.step(Status.A)
    async def count(run: Run[Thing, Status]) -> Literal[Status.B] | Decision:
        run.object.count += 1
        return Status.B if run.object.count == 100 else run.save_and_repeat()

    wf = builder.build(backend)
    async with wf.running():
        await wf.trigger("loop")
        run = await wf.wait_for("loop", Status.B, timeout=PATIENCE)
        assert (run.object.count, run.version) == (100, 101)


async def test_a_callback_moves_a_waiting_run_and_says_when_it_cannot(backend: Backend) -> None:
    """R-CALLBACK-1 to R-CALLBACK-8, W-25."""
    builder = Builder("called", Thing, Status)

    class Answer(msgspec.Struct):
        accepted: bool

    @builder.callback(Status.A)
    async def answer(run: Run[Thing, Status], payload: Answer) -> Literal[Status.B] | Decision:
        return Status.B if payload.accepted else run.skip()

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("asked")
        with pytest.raises(InvalidPayload, match="accepted"):
            await wf.callback("asked", Status.A, b'{"accepted": "perhaps"}')
        await wf.callback("asked", Status.A, b'{"accepted": false}')
        assert (await wf.get(run_id)).version == 1
        await trigger_callback_on(wf, "asked", run_id, Status.A, Answer(accepted=True), timeout=PATIENCE)
        await wf.wait_for("asked", Status.B, timeout=PATIENCE)
        with pytest.raises(NotWaiting) as caught:
            await wf.callback("asked", Status.A, b'{"accepted": true}')
        assert caught.value.status is Status.B


async def test_failures_are_versions_and_too_many_pause_the_run(backend: Backend) -> None:
    """R-PAUSE-1, R-PAUSE-6, W-16, W-18: the text of each error differs, the count is one."""
    builder = Builder("failing", Thing, Status)
    calls = itertools.count(1)
    paused: asyncio.Queue[str] = asyncio.Queue()

    @builder.step(Status.A)
    async def fail(run: Run[Thing, Status]) -> Literal[Status.B]:
        call = next(calls)
        if call <= 4:
            raise ValueError(f"failure {call}")
        return Status.B

    @builder.on_pause
    async def note(run: Run[Thing, Status]) -> None:
        paused.put_nowait(run.meta.run_state_reason)

    options = Options(err_back_off=timedelta(milliseconds=10), pause_after_err_count=3)
    wf = builder.build(backend, default_options=options, pause_retry=timedelta(milliseconds=50))
    async with wf.running():
        run_id = await wf.trigger("unlucky")
        await wf.wait_for("unlucky", Status.B, timeout=PATIENCE)
        assert await asyncio.wait_for(paused.get(), 20) == "max error retry threshold hit - automatically paused"
        states = [(v.run_state, v.attempt) for v in await wf.history(run_id)]
        assert states[:4] == [
            (RunState.INITIATED, 1),
            (RunState.RUNNING, 2),
            (RunState.RUNNING, 3),
            (RunState.PAUSED, 3),
        ]
        assert next(calls) == 6


async def test_a_run_that_fails_does_not_hold_back_the_others(backend: Backend) -> None:
    """W-8."""
    builder = Builder("one bad", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        if run.foreign_id == "bad":
            raise RuntimeError("always")
        return Status.B

    wf = builder.build(backend, default_options=Options(max_in_flight=1))
    async with wf.running():
        await wf.trigger("bad")
        for name in ("good 1", "good 2", "good 3"):
            await wf.trigger(name)
            await wf.wait_for(name, Status.B, timeout=PATIENCE)
        bad = await wf.latest("bad")
        assert bad.attempt >= 2
        assert "RuntimeError: always" in bad.last_error


async def test_a_hanging_handler_fails_its_attempt(backend: Backend) -> None:
    builder = Builder("hanging", Thing, Status)
    options = Options(timeout=timedelta(milliseconds=50), err_back_off=timedelta(milliseconds=10))

    @builder.step(Status.A, options=options)
    async def hang(run: Run[Thing, Status]) -> Literal[Status.B]:
        if run.attempt == 1:
            await asyncio.Event().wait()
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("slow")
        await wf.wait_for("slow", Status.B, timeout=PATIENCE)
        assert "took longer than" in (await wf.history(run_id))[1].last_error


async def test_people_pause_resume_and_cancel(backend: Backend) -> None:
    """R-STATE-3, R-STATE-7, W-44."""
    builder = Builder("verbs", Thing, Status)

    @builder.callback(Status.A)
    async def go(run: Run[Thing, Status], payload: bytes) -> Literal[Status.B]:
        return Status.B

    @builder.step(Status.B)
    async def wait(run: Run[Thing, Status]) -> Literal[Status.C] | Decision:
        return run.skip()

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("steered")
        await wf.pause(run_id, "holiday")
        paused = await wf.get(run_id)
        assert (paused.run_state, paused.meta.run_state_reason) == (RunState.PAUSED, "holiday")
        with pytest.raises(NotWaiting):
            await wf.callback("steered", Status.A)
        with pytest.raises(WorkflowInProgress):
            await wf.trigger("steered")
        await wf.resume(run_id)
        await wf.callback("steered", Status.A)
        await wf.cancel(run_id, "enough")
        with pytest.raises(RunFinished):
            await wf.wait_for("steered", Status.C, timeout=PATIENCE)
        with pytest.raises(InvalidRunState):
            await wf.resume(run_id)
        assert await wf.trigger("steered") != run_id


async def test_deleted_data_is_gone_from_record_and_history(backend: Backend) -> None:
    """R-DELETE-3, R-DELETE-4, W-23."""
    builder = Builder("forgetting", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        run.object.text = "secret"
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("person", Thing(text="secret too"))
        await wf.wait_for("person", Status.B, timeout=PATIENCE)
        await wf.delete_data(run_id, "asked to")
        await wait_for(wf, "person", lambda run: run.run_state is RunState.DATA_DELETED, timeout=PATIENCE)
        kept = [*await backend.record_store.history(run_id), (await backend.record_store.lookup([run_id]))[run_id]]
        assert not any(b"secret" in record.object for record in kept)
        assert [record.version for record in kept] == [1, 2, 3, 4, 4]


async def test_a_connector_starts_runs_on_every_shard(backend: Backend) -> None:
    """R-CONN-5, W-2b, W-3: with only a default parallel count, no event is lost."""
    now = datetime.now(UTC)
    source = MemoryConnector(
        [ConnectorEvent(id=str(number), foreign_id=f"user {number}", created_at=now) for number in range(40)]
    )
    builder = Builder("fed", Thing, Status)

    @builder.connector("feed", source)
    async def start(wf: Workflow[Thing, Status], event: ConnectorEvent) -> None:
        await wf.trigger(event.foreign_id, Thing(count=int(event.id)), run_id=f"feed-{event.id}")

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    wf = builder.build(backend, default_options=Options(parallel_count=3))
    async with wf.running():
        for number in range(40):
            await require(wf, f"user {number}", Status.B, Thing(count=number), timeout=PATIENCE)


async def test_stopping_lets_a_handler_finish_and_the_workflow_may_run_again(backend: Backend) -> None:
    """W-36, R-PROC-14, R-FIX-10."""
    builder = Builder("stopping", Thing, Status)
    begun, go_on = asyncio.Event(), asyncio.Event()

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        begun.set()
        await go_on.wait()
        run.object.count += 1
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("in flight")
        await begun.wait()
        stopping = asyncio.create_task(wf.stop())
        await asyncio.sleep(0)
        go_on.set()
        await stopping
    run = await wf.get(run_id)
    assert (run.status, run.object.count, run.version) == (Status.B, 1, 2)
    assert {str(state) for state in wf.states().values()} == {"Shutdown"}
    async with wf.running():
        await wf.trigger("again")
        await wf.wait_for("again", Status.B, timeout=PATIENCE)
