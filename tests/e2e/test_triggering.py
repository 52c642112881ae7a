"""Starting runs: one live run for each foreign ID, and a run ID that makes a trigger idempotent."""

import asyncio
from uuid import UUID

import pytest

from tests.e2e.model import PATIENCE, Status, Thing, chain, waiting
from workflow import (
    Conflict,
    RunState,
    WorkflowInProgress,
)
from workflow.protocols import Backend
from workflow.verify import verify


async def test_w1_of_many_triggers_at_once_one_starts_a_run(backend: Backend) -> None:
    """W-1a."""
    wf = waiting("w1").build(backend)
    outcomes = await asyncio.gather(*(wf.trigger("key") for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, WorkflowInProgress) for outcome in outcomes) == 19


async def test_a_run_id_makes_a_trigger_idempotent(backend: Backend) -> None:
    """R-TRIGGER-8, W-44: before the rule of one live run, also at the same time and after the run has ended."""
    wf, other = chain().build(backend, starting_point=Status.A), chain("other").build(backend, starting_point=Status.A)
    ids = await asyncio.gather(*(wf.trigger("key", Thing(count=n), run_id="order-7") for n in range(5)))
    assert ids == ["order-7"] * 5
    with pytest.raises(WorkflowInProgress) as caught:
        await wf.trigger("key")
    assert (caught.value.workflow_name, caught.value.foreign_id) == ("chain", "key")
    assert caught.value.run_id in (None, "order-7")
    await wf.cancel("order-7")
    assert await wf.trigger("key", run_id="order-7") == "order-7"
    run = await wf.get("order-7")
    assert (run.run_state, len(await wf.history("order-7"))) == (RunState.CANCELLED, 2)
    for workflow, key in ((wf, "another key"), (other, "key")):
        with pytest.raises(Conflict) as refused:
            await workflow.trigger(key, run_id="order-7")
        assert refused.value.run_id == "order-7"
    UUID(await wf.trigger("key"))


async def test_only_a_live_run_holds_its_foreign_id(backend: Backend) -> None:
    """R-TRIGGER-6: initiated, running and paused hold it; cancelled, completed and erased do not."""
    wf = chain().build(backend, starting_point=Status.A)

    async def held() -> bool:
        try:
            await wf.trigger("key")
        except WorkflowInProgress:
            return True
        return False

    run_id = await wf.trigger("key")
    assert await held()
    await wf.callback("key", Status.A)
    assert await held()
    await wf.pause(run_id)
    assert await held()
    await wf.cancel(run_id)
    assert not await held()
    await wf.callback("key", Status.A, b"D")
    assert not await held()
    live = await wf.latest("key")
    await wf.delete_data(run_id)
    assert (await wf.latest("key")).run_id == live.run_id
    assert not (await verify(backend.record_store, wf)).violations


async def test_a_run_may_start_anywhere_in_the_graph(backend: Backend) -> None:
    """R-TRIGGER-2, R-TRIGGER-3, R-TRIGGER-7: at a terminal status it completes at once."""
    builder = chain()
    wf = builder.build(backend, starting_point=[Status.B, Status.A])
    async with wf.running():
        assert (await wf.get(await wf.trigger("default"))).status is Status.B
        assert (await wf.get(await wf.trigger("given", starting_point=Status.A))).status is Status.A
        run_id = await wf.trigger("ended", starting_point=Status.C)
        run = await wf.get(run_id)
        assert (run.run_state, run.status, run.version) == (RunState.COMPLETED, Status.C, 1)
        assert (await wf.wait_for("ended", Status.C, timeout=PATIENCE)).run_id == run_id
