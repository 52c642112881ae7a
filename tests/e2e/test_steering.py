"""People pause, resume and cancel runs; the engine resumes only its own pauses."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing, waiting
from workflow import (
    Builder,
    Conflict,
    Decision,
    InvalidRunState,
    NotWaiting,
    Options,
    Run,
    RunFinished,
    RunState,
    WorkflowInProgress,
)
from workflow.protocols import Backend
from workflow.testing import FakeClock, wait_for


async def test_a_verb_returns_the_run_as_it_was_committed(backend: Backend) -> None:
    wf = waiting("returned").build(backend)
    run_id = await wf.trigger("key")
    verbs: list[tuple[Callable[[str], Awaitable[Run[Thing, Status]]], RunState]] = [
        (wf.pause, RunState.PAUSED),
        (wf.resume, RunState.RUNNING),
        (wf.cancel, RunState.CANCELLED),
        (wf.delete_data, RunState.REQUESTED_DATA_DELETED),
    ]
    for version, (verb, run_state) in enumerate(verbs, start=2):
        run = await verb(run_id)
        assert (run.run_id, run.version, run.run_state) == (run_id, version, run_state)
        stored = await wf.get(run_id)
        assert (stored.version, stored.run_state, stored.updated_at) == (version, run_state, run.updated_at)


async def test_every_version_says_who_asked_for_it_and_why(backend: Backend) -> None:
    wf = waiting("who").build(backend)
    run_id = await wf.trigger("key")
    await wf.pause(run_id, "look at it", actor="support")
    await wf.resume(run_id, "looked at", actor="support lead")
    called = await wf.callback("key", Status.A, b"x", actor="webhook")
    assert called.meta.actor == "webhook"
    assert await wf.trigger("other", run_id="other") == "other"
    await wf.cancel("other", actor="customer")
    told = [(run.meta.actor, run.meta.reason) for run in await wf.history(run_id)]
    assert told == [("", ""), ("support", "look at it"), ("support lead", "looked at"), ("webhook", "")]
    reasons = [run.meta.run_state_reason for run in await wf.history(run_id)]
    assert reasons == ["", "look at it", "", ""]
    cancelled = await wf.get("other")
    assert (cancelled.meta.actor, cancelled.meta.reason, cancelled.meta.cause) == ("customer", "", "cancel")


async def test_a_verb_that_names_a_version_changes_no_other(backend: Backend) -> None:
    wf = waiting("expected").build(backend)
    run_id = await wf.trigger("key")
    await wf.pause(run_id, version=1)
    for verb in (wf.resume, wf.cancel):
        for stale in (1, 3):
            with pytest.raises(Conflict) as caught:
                await verb(run_id, version=stale, actor="late")
            assert (caught.value.run_id, caught.value.version, caught.value.expected) == (run_id, 2, stale)
            assert f"at version 2, not {stale}" in str(caught.value)
    assert len(await wf.history(run_id)) == 2
    assert (await wf.resume(run_id, version=2)).version == 3
    assert (await wf.cancel(run_id, version=3)).version == 4
    with pytest.raises(Conflict):
        await wf.delete_data(run_id, version=3)
    assert (await wf.delete_data(run_id, version=4)).version == 5


async def test_of_two_verbs_that_name_the_same_version_one_is_done(backend: Backend) -> None:
    wf = waiting("once").build(backend)
    run_id = await wf.trigger("key")
    outcomes = await asyncio.gather(*(wf.pause(run_id, str(n), version=1) for n in range(5)), return_exceptions=True)
    done = [outcome for outcome in outcomes if isinstance(outcome, Run)]
    assert [type(outcome) for outcome in outcomes if outcome not in done] == [Conflict] * 4
    assert [run.meta.run_state_reason for run in await wf.history(run_id)] == ["", done[0].meta.reason]


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


async def test_w1_a_stale_verb_cannot_undo_a_cancellation(backend: Backend) -> None:
    """W-1b."""
    wf = waiting("w1b").build(backend)
    run_id = await wf.trigger("key")
    outcomes = await asyncio.gather(wf.cancel(run_id), wf.pause(run_id), return_exceptions=True)
    assert (await wf.get(run_id)).run_state is RunState.CANCELLED
    assert isinstance(outcomes[0], Run)
    assert isinstance(outcomes[1], Run | InvalidRunState)


async def test_w17_latest_is_the_live_run_even_when_an_older_one_is_touched(backend: Backend) -> None:
    """W-17, W-17b."""
    wf = waiting("w17").build(backend)
    old = await wf.trigger("key")
    await wf.cancel(old)
    live = await wf.trigger("key")
    await wf.delete_data(old)
    assert (await wf.latest("key")).run_id == live


async def test_w22_w37_only_the_engines_own_pauses_are_resumed(backend: Backend) -> None:
    """W-22, W-37, R-PAUSE-5."""
    clock = FakeClock()
    builder = Builder("w37", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B] | Decision:
        if run.foreign_id == "decided":
            return run.pause("on purpose")
        if run.attempt == 1 and not run.object.text and run.version == 1:
            raise RuntimeError("once")
        return Status.B

    options = Options(pause_after_err_count=1)
    wf = builder.build(backend, clock=clock, default_options=options, pause_retry=timedelta(hours=1))
    async with wf.running():
        for key in ("decided", "failed"):
            await wf.trigger(key)
            await wait_for(wf, key, lambda run: run.run_state is RunState.PAUSED, timeout=PATIENCE)
        clock.advance(timedelta(hours=2))
        await wf.wait_for("failed", Status.B, timeout=PATIENCE)
        assert (await wf.latest("decided")).run_state is RunState.PAUSED


async def test_w24_a_pause_keeps_the_changes_to_the_object(backend: Backend) -> None:
    """W-24."""
    builder = Builder("w24", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B] | Decision:
        run.object.text = "kept"
        return run.pause("look at it")

    wf = builder.build(backend)
    async with wf.running():
        await wf.trigger("key")
        paused = await wait_for(wf, "key", lambda run: run.run_state is RunState.PAUSED, timeout=PATIENCE)
        assert (paused.object.text, paused.meta.run_state_reason) == ("kept", "look at it")
