"""The verbs of a workflow as its user knows them, on every backend, also where no process of the workflow runs."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.e2e.model import waiting
from workflow import OutcomeUnknown, RunState, Unavailable
from workflow.protocols import Backend
from workflow_adapters.memory import MemoryBackend


async def test_verbs_one_after_the_other_are_each_written_at_once(backend: Backend) -> None:
    """What comes in the very turn in which the last batch was answered must not wait for somebody else's change."""
    wf = waiting("one by one").build(backend)
    async with asyncio.timeout(20):
        for number in range(10):
            run_id = await wf.trigger(f"run {number}")
            await wf.pause(run_id)
            await wf.resume(run_id)
            await wf.cancel(run_id)
            assert (await wf.get(run_id)).run_state is RunState.CANCELLED


async def test_a_trigger_that_gives_up_names_the_run_so_that_it_can_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of an unknown outcome the caller learns the run ID under which it may have happened, and never has two runs."""
    backend = MemoryBackend()
    wf = waiting("giving up").build(backend)
    store = backend.record_store.store
    lost: list[Exception] = []

    async def failing(changes: Any) -> Any:
        if isinstance(lost[0], OutcomeUnknown):
            await store(changes)
        raise lost[0]

    for number, error in enumerate((Unavailable("away"), OutcomeUnknown("cut off"))):
        lost[:] = [error]
        backend.record_store.store = failing  # type: ignore[method-assign]
        with monkeypatch.context() as patch:
            patch.setattr("workflow._verbs.trigger.VERB_DEADLINE", timedelta(milliseconds=100))
            with pytest.raises(type(error)) as caught:
                await wf.trigger(f"key {number}")
        assert isinstance(caught.value, Unavailable | OutcomeUnknown)
        run_id = caught.value.run_id
        assert run_id is not None
        backend.record_store.store = store  # type: ignore[method-assign]
        assert await wf.trigger(f"key {number}", run_id=run_id) == run_id
        assert [run.run_id for run in await wf.list(foreign_ids=[f"key {number}"])] == [run_id]
    await wf._engine.commits.flush()
