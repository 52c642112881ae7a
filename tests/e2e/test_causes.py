"""The cause of every version: the history of a run says what moved it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Literal

from tests.e2e.model import PATIENCE, Status, Thing, waiting
from workflow import Builder, Decision, Options, Run, RunState, VersionCause, Workflow
from workflow.protocols import Backend, Note
from workflow.testing import FakeClock, await_timeout_insert, wait_for
from workflow.verify import verify

QUICK = Options(err_back_off=timedelta(milliseconds=10))


async def causes(wf: Workflow[Thing, Status], run_id: str) -> Sequence[VersionCause]:
    return [run.meta.cause for run in await wf.history(run_id)]


async def test_a_trigger_steps_and_their_decisions(backend: Backend) -> None:
    builder = Builder("stepping", Thing, Status)

    @builder.step(Status.A)
    async def first(run: Run[Thing, Status]) -> Literal[Status.B] | Decision:
        run.object.count += 1
        return Status.B if run.object.count == 2 else run.save_and_repeat()

    @builder.step(Status.B)
    async def second(run: Run[Thing, Status]) -> Literal[Status.C] | Decision:
        return run.cancel("enough")

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("key")
        run = await wf.wait_until_finished("key", timeout=PATIENCE)
    assert await causes(wf, run_id) == ["trigger", "step", "step", "step"]
    assert run.meta.cause is VersionCause.STEP
    assert run.meta.run_state_reason == "enough"


async def test_failures_the_pause_they_lead_to_and_the_engines_own_resume(backend: Backend) -> None:
    builder = Builder("failing", Thing, Status)
    clock = FakeClock()

    @builder.step(Status.A)
    async def fail(run: Run[Thing, Status]) -> Literal[Status.B]:
        if run.version <= 2:
            raise RuntimeError("not yet")
        return Status.B

    options = Options(pause_after_err_count=2, err_back_off=timedelta(0))
    wf = builder.build(backend, clock=clock, default_options=options, pause_retry=timedelta(minutes=1))
    async with wf.running():
        run_id = await wf.trigger("key")
        await wait_for(wf, "key", lambda run: run.run_state is RunState.PAUSED, timeout=PATIENCE)
        clock.advance(timedelta(minutes=2))
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
    assert await causes(wf, run_id) == ["trigger", "failure", "failure", "resume", "step"]
    assert [run.meta.actor for run in await wf.history(run_id)] == [""] * 5


async def test_people_pause_resume_call_back_cancel_and_erase(backend: Backend) -> None:
    wf = waiting("steered").build(backend, starting_point=[Status.A])
    run_id = await wf.trigger("key")
    await wf.pause(run_id)
    await wf.resume(run_id)
    await wf.callback("key", Status.A)
    assert await causes(wf, run_id) == ["trigger", "pause", "resume", "callback"]
    other = await wf.trigger("other")
    async with wf.running():
        await wf.cancel(other)
        await wf.delete_data(other, actor="privacy office")
        await wait_for(wf, "other", lambda run: run.run_state is RunState.DATA_DELETED, timeout=PATIENCE)
    assert await causes(wf, other) == ["trigger", "cancel", "delete", "delete"]
    assert [run.meta.actor for run in await wf.history(other)] == ["", "", "privacy office", ""]


async def test_a_timeout(backend: Backend) -> None:
    clock = FakeClock()
    builder = Builder("expiring", Thing, Status)

    @builder.timeout(Status.A, timedelta(hours=1))
    async def expire(run: Run[Thing, Status], now: datetime) -> Literal[Status.B]:
        return Status.B

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        run_id = await wf.trigger("key")
        await await_timeout_insert(wf, "key", run_id, Status.A, timeout=PATIENCE)
        clock.advance(timedelta(hours=1))
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
    assert await causes(wf, run_id) == ["trigger", "timeout"]


async def test_a_crash(backend: Backend) -> None:
    """A process that is gone has noted that it began an attempt; the next one takes it for a failed one."""
    builder = Builder("crashing", Thing, Status)
    calls: list[int] = []

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        calls.append(run.attempt)
        return Status.B

    wf = builder.build(backend, default_options=QUICK)
    run_id = await wf.trigger("key")
    (claimed,) = await backend.record_store.store([Note(run_id=run_id, version=1, claimed_by="a process that is gone")])
    assert claimed.ok
    async with wf.running():
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
    assert await causes(wf, run_id) == ["trigger", "crash", "step"]
    assert calls == [2]
    assert "ended before it had a result" in (await wf.history(run_id))[1].last_error


class Fewer(IntEnum):
    B = 2
    C = 3


async def test_the_sweeper_pauses_a_run_whose_status_is_gone(backend: Backend) -> None:
    clock = FakeClock()
    front = waiting("shrinking").build(backend, clock=clock)
    run_id = await front.trigger("key")
    builder = Builder("shrinking", Thing, Fewer)

    @builder.step(Fewer.B)
    async def work(run: Run[Thing, Fewer]) -> Literal[Fewer.C]:
        return Fewer.C

    wf = builder.build(backend, clock=clock, sweep_after=timedelta(minutes=1))
    async with wf.running():
        async with asyncio.timeout(20):
            # The sweeper may be in the middle of a look: only a later one sees where the clock is now.
            while (run := await wf.get(run_id)).run_state is not RunState.PAUSED:
                clock.advance(timedelta(minutes=2))
                await asyncio.sleep(0.02)
    assert run.meta.cause is VersionCause.SWEEP
    assert "status 1 is no longer one of Fewer" in run.meta.run_state_reason
    assert await causes(front, run_id) == ["trigger", "sweep"]


async def test_the_checker_is_content_with_every_cause(backend: Backend) -> None:
    """Causes are told, never used: a history reads the same to the checker whatever they are."""
    wf = waiting("checked").build(backend)
    run_id = await wf.trigger("key")
    await wf.pause(run_id, actor="somebody", reason="something")
    await wf.cancel(run_id)
    report = await verify(backend.record_store, wf, acknowledged={run_id: 3})
    assert report.ok, str(report)
