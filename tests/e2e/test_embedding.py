"""In an application that has its own task groups, time limits and cancellations, of asyncio and of anyio."""

import asyncio
from typing import Literal

import anyio
import pytest

from tests.e2e.model import PATIENCE, Status, Thing, waiting
from workflow import Builder, ProcessState, Run
from workflow.protocols import Backend
from workflow_adapters.memory import MemoryBackend


def shut_down(states: dict[str, ProcessState]) -> bool:
    return bool(states) and set(states.values()) == {ProcessState.SHUTDOWN}


async def test_a_workflow_runs_in_a_task_group_of_anyio_until_that_is_cancelled(backend: Backend) -> None:
    wf = waiting("in anyio").build(backend)
    async with anyio.create_task_group() as group:
        group.start_soon(wf.run)
        await wf.trigger("key")
        await wf.callback("key", Status.A)
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
        group.cancel_scope.cancel()
    assert shut_down(wf.states())


async def test_an_error_beside_it_ends_a_workflow_in_a_task_group_of_asyncio(backend: Backend) -> None:
    wf = waiting("in asyncio").build(backend)

    async def fail() -> None:
        while not wf.states():
            await asyncio.sleep(0)
        raise ZeroDivisionError

    async def application() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wf.run())
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as caught:
        await application()
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]
    assert shut_down(wf.states())


async def test_time_limits_around_a_wait_and_around_running_end_them_cleanly(backend: Backend) -> None:
    wf = waiting("limited").build(backend)
    async with wf.running():
        await wf.trigger("key")
        with anyio.move_on_after(0.05) as scope:
            await wf.wait_for("key", Status.B)
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wf.wait_for("key", Status.B), 0.05)
        await wf.callback("key", Status.A)

    async def limited() -> None:
        with anyio.fail_after(0.05):
            async with wf.running():
                await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await limited()
    assert shut_down(wf.states())
    async with wf.running():
        await wf.wait_for("key", Status.B, timeout=PATIENCE)


async def test_a_handler_may_trigger_call_back_and_wait_for_runs_of_other_workflows(backend: Backend) -> None:
    other = waiting("other").build(backend)
    builder = Builder("first", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        child = await other.trigger(run.foreign_id, run_id=run.idempotency_key)
        await other.callback(run.foreign_id, Status.A, b"from the parent", run_id=child)
        done = await other.wait_for(run.foreign_id, Status.B, run_id=child, timeout=PATIENCE)
        run.object.text = done.object.text
        return Status.B

    wf = builder.build(backend)
    async with other.running(), wf.running():
        await wf.trigger("key")
        run = await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert run.object.text == "from the parent"


async def test_a_verb_whose_caller_is_cancelled_is_done_or_not_and_the_next_one_works(backend: Backend) -> None:
    wf = waiting("cancelled").build(backend)
    for number in range(10):
        task = asyncio.create_task(wf.trigger(f"key {number}", run_id=f"run {number}"))
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await wf.trigger(f"key {number}", run_id=f"run {number}") == f"run {number}"
        assert len(await wf.history(f"run {number}")) == 1


def test_one_workflow_serves_one_event_loop_after_another() -> None:
    backend = MemoryBackend()
    wf = waiting("loops").build(backend)

    async def use(key: str) -> None:
        async with wf.running():
            await wf.trigger(key)
            await wf.callback(key, Status.A)
            await wf.wait_for(key, Status.B, timeout=PATIENCE)

    asyncio.run(use("first"))
    asyncio.run(use("second"))
