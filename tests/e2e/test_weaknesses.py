"""What the reference gets wrong, each shown to be right here; the rows are named in the docstrings and the names."""

import asyncio
from datetime import datetime, timedelta
from typing import Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import (
    Builder,
    BuildError,
    Decision,
    InvalidRunState,
    Options,
    Run,
    RunFinished,
    RunState,
    WaitTimeout,
    WorkflowInProgress,
)
from workflow.options import DEFAULTS
from workflow.protocols import Backend
from workflow.testing import FakeClock, await_timeout_insert, wait_for
from workflow_adapters.memory import MemoryBackend

QUICK = Options(err_back_off=timedelta(milliseconds=10))


def waiting(name: str) -> Builder[Thing, Status]:
    """A workflow whose runs wait at A for a callback to B."""
    builder = Builder(name, Thing, Status)

    @builder.callback(Status.A)
    async def go(run: Run[Thing, Status], payload: bytes) -> Literal[Status.B]:
        return Status.B

    return builder


async def test_w1_of_many_triggers_at_once_one_starts_a_run(backend: Backend) -> None:
    """W-1a."""
    wf = waiting("w1").build(backend)
    outcomes = await asyncio.gather(*(wf.trigger("key") for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, WorkflowInProgress) for outcome in outcomes) == 19


async def test_w1_a_stale_verb_cannot_undo_a_cancellation(backend: Backend) -> None:
    """W-1b."""
    wf = waiting("w1b").build(backend)
    run_id = await wf.trigger("key")
    outcomes = await asyncio.gather(wf.cancel(run_id), wf.pause(run_id), return_exceptions=True)
    assert (await wf.get(run_id)).run_state is RunState.CANCELLED
    assert all(outcome is None or isinstance(outcome, InvalidRunState) for outcome in outcomes)


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


async def test_w4_waiting_for_a_status_that_was_passed_returns(backend: Backend) -> None:
    """W-4."""
    builder = Builder("w4", Thing, Status)

    @builder.step(Status.A, to=Status.B)
    async def first(run: Run[Thing, Status]) -> Status:
        return Status.B

    @builder.step(Status.B, to=Status.C)
    async def second(run: Run[Thing, Status]) -> Status:
        return Status.C

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("key")
        await wf.wait_for("key", Status.C, timeout=PATIENCE)
        assert (await wf.wait_for("key", Status.B, run_id=run_id, timeout=PATIENCE)).status is Status.C


async def test_w5_waiting_ends_with_an_error_when_the_run_ends_elsewhere(backend: Backend) -> None:
    """W-5, W-41: two waiters of one run both learn of it."""
    wf = waiting("w5").build(backend)
    async with wf.running():
        run_id = await wf.trigger("key")
        waiters = [asyncio.create_task(wf.wait_for("key", Status.B, timeout=PATIENCE)) for _ in range(2)]
        with pytest.raises(WaitTimeout):
            await wf.wait_for("key", Status.B, timeout=timedelta(milliseconds=20))
        await wf.cancel(run_id)
        outcomes = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [RunFinished, RunFinished]


def test_w6_unset_options_keep_their_defaults() -> None:
    """W-6."""
    effective = Options(pause_after_err_count=3).over(DEFAULTS)
    assert effective.pause_after_err_count == 3
    assert effective.err_back_off == DEFAULTS.err_back_off
    assert effective.polling_frequency == DEFAULTS.polling_frequency


async def test_w9_the_first_status_may_be_entered_again() -> None:
    """W-9, R-GRAPH-6."""
    builder = Builder("w9", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        run.object.count += 1
        return Status.B

    @builder.step(Status.B)
    async def again(run: Run[Thing, Status]) -> Literal[Status.A, Status.C]:
        return Status.C if run.object.count == 3 else Status.A

    with pytest.raises(BuildError, match="starting_point"):
        builder.build(MemoryBackend())
    wf = builder.build(MemoryBackend(), starting_point=Status.A)
    async with wf.running():
        await wf.trigger("key")
        assert (await wf.wait_for("key", Status.C, timeout=PATIENCE)).object.count == 3


async def test_w17_latest_is_the_live_run_even_when_an_older_one_is_touched(backend: Backend) -> None:
    """W-17, W-17b."""
    wf = waiting("w17").build(backend)
    old = await wf.trigger("key")
    await wf.cancel(old)
    live = await wf.trigger("key")
    await wf.delete_data(old)
    assert (await wf.latest("key")).run_id == live


async def test_w19_a_timer_of_an_earlier_run_leaves_the_next_one_alone(backend: Backend) -> None:
    """W-19."""
    clock = FakeClock()
    builder = waiting("w19")

    @builder.timeout(Status.A, timedelta(hours=1))
    async def expire(run: Run[Thing, Status], now: datetime) -> Literal[Status.C]:
        return Status.C

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        first = await wf.trigger("key")
        await await_timeout_insert(wf, "key", first, Status.A, timeout=PATIENCE)
        clock.advance(timedelta(minutes=58))
        await wf.cancel(first)
        second = await wf.trigger("key")
        await await_timeout_insert(wf, "key", second, Status.A, timeout=PATIENCE)
        clock.advance(timedelta(minutes=2))
        assert backend.timeout_store is not None
        while any(timer.run_id == first for timer in await backend.timeout_store.list("w19")):
            await asyncio.sleep(0.01)
        assert (await wf.get(second)).status is Status.A
        clock.advance(timedelta(minutes=58))
        await wf.wait_for("key", Status.C, run_id=second, timeout=PATIENCE)


async def test_w20_pausing_and_resuming_neither_doubles_nor_restarts_a_timer(backend: Backend) -> None:
    """W-20."""
    clock = FakeClock()
    builder = waiting("w20")
    fired: list[datetime] = []

    @builder.timeout(Status.A, timedelta(hours=1))
    async def expire(run: Run[Thing, Status], now: datetime) -> Literal[Status.C]:
        fired.append(now)
        return Status.C

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        run_id = await wf.trigger("key")
        await await_timeout_insert(wf, "key", run_id, Status.A, timeout=PATIENCE)
        await wf.pause(run_id)
        clock.advance(timedelta(minutes=59))
        await wf.resume(run_id)
        clock.advance(timedelta(minutes=1))
        await wf.wait_for("key", Status.C, timeout=PATIENCE)
        assert backend.timeout_store is not None
        while await backend.timeout_store.list("w20", run_id=run_id):
            await asyncio.sleep(0.01)
        assert len(fired) == 1


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


def test_w46_everything_wrong_with_a_declaration_is_reported_at_once() -> None:
    """W-46."""
    builder = Builder("w46", Thing, Status)

    async def undeclared(run: Run[Thing, Status]) -> Status:
        return Status.B

    builder.step(Status.A)(undeclared)
    builder.step(Status.B, to=Status.C)(undeclared)
    builder.step(Status.B, to=Status.D)(undeclared)
    with pytest.raises(BuildError) as caught:
        builder.build(MemoryBackend())
    text = "\n".join(caught.value.problems)
    assert "no destinations" in text
    assert "only one step" in text


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
