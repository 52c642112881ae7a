"""Stopping a workflow, however it is done, and running it again."""

import asyncio
from datetime import timedelta
from typing import Any, Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import (
    Builder,
    Options,
    ProcessState,
    Run,
    Workflow,
)
from workflow.protocols import Backend
from workflow_adapters.memory import MemoryBackend


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


async def states_are(wf: Workflow[Any, Any], wanted: ProcessState) -> None:
    async with asyncio.timeout(20):
        while set(wf.states().values()) != {wanted}:
            await asyncio.sleep(0.005)


async def test_cancelling_run_is_like_stopping_and_it_may_run_again(backend: Backend) -> None:
    """R-PROC-13, R-PROC-14."""
    builder = Builder("cancelled", Thing, Status)
    begun = asyncio.Event()
    cancelled: list[int] = []

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


async def test_w48_what_is_triggered_after_a_stop_is_done_at_the_next_run(backend: Backend) -> None:
    """W-48, R-PROC-14."""
    builder = Builder("w48", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        pass
    await wf.trigger("key")
    async with wf.running():
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
