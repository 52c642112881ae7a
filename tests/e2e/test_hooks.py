"""Hooks: called at least once for every change of the run state, with the run as it was then."""

import asyncio
from datetime import timedelta

from tests.e2e.model import PATIENCE, Status, Thing, waiting
from workflow import (
    Builder,
    Options,
    Run,
    RunState,
)
from workflow.protocols import Backend
from workflow.testing import wait_for

QUICK = Options(err_back_off=timedelta(milliseconds=10))


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


async def test_w42_a_hook_sees_the_run_as_it_was_and_is_tried_again(backend: Backend) -> None:
    """W-42, R-HOOK-2."""
    builder = waiting("w42")
    seen: list[tuple[RunState, str]] = []
    twice = asyncio.Event()

    @builder.on_pause
    async def note(run: Run[Thing, Status]) -> None:
        seen.append((run.run_state, run.meta.run_state_reason))
        if len(seen) == 1:
            raise RuntimeError("try again")
        twice.set()

    wf = builder.build(backend, default_options=QUICK)
    run_id = await wf.trigger("key")
    await wf.pause(run_id, "first")
    await wf.resume(run_id)
    async with wf.running():
        async with asyncio.timeout(20):
            await twice.wait()
    assert seen[:2] == [(RunState.PAUSED, "first"), (RunState.PAUSED, "first")]
