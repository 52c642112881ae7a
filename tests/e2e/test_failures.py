"""Failed attempts: they are versions, they are counted, and too many pause the run."""

import asyncio
import itertools
import logging
from datetime import timedelta
from typing import Any, Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import (
    Builder,
    Options,
    OutboxOptions,
    Run,
    RunState,
    Workflow,
)
from workflow.protocols import Backend
from workflow.testing import FakeClock
from workflow.verify import verify
from workflow_adapters.memory import MemoryBackend

QUICK = Options(err_back_off=timedelta(milliseconds=10))


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


async def test_w2_a_timeout_error_of_a_dependency_ends_no_process() -> None:
    """W-2."""
    builder = Builder("w2", Thing, Status)
    tries = 0

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise TimeoutError("a dependency") if tries == 1 else asyncio.CancelledError("a dependency")
        return Status.B

    wf = builder.build(MemoryBackend(), default_options=QUICK, sweep_after=timedelta(milliseconds=50))
    async with wf.running():
        await wf.trigger("key")
        await wf.wait_for("key", Status.B, timeout=PATIENCE)


async def test_a_run_paused_and_resumed_begins_its_attempts_anew(backend: Backend) -> None:
    """R-TRACE-2, R-TRACE-3, R-STATE-7: resuming runs the step again at a new version; old events do nothing."""
    builder = Builder("trace", Thing, Status)
    calls: list[tuple[int, int]] = []

    @builder.step(Status.A)
    async def first(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    @builder.step(Status.B)
    async def second(run: Run[Thing, Status]) -> Literal[Status.C]:
        calls.append((run.version, run.attempt))
        if len(calls) <= 2:
            raise RuntimeError("not yet")
        return Status.C

    options = Options(err_back_off=timedelta(milliseconds=5), pause_after_err_count=2)
    wf = builder.build(backend, default_options=options, pause_retry=None)
    async with wf.running():
        run_id = await wf.trigger("key")
        async with asyncio.timeout(20):
            while (await wf.get(run_id)).run_state is not RunState.PAUSED:
                await asyncio.sleep(0.01)
        history = await backend.record_store.history(run_id)
        await backend.event_streamer.send([wf._engine.transitions.event(version) for version in history])
        await wf.resume(run_id)
        run = await wf.wait_for("key", Status.C, timeout=PATIENCE)
        assert calls == [(2, 1), (3, 2), (5, 1)]
        assert (run.version, run.meta.run_state_reason) == (6, "")
        assert not (await verify(backend.record_store, wf)).violations


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
