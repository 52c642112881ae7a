"""Decisions and results of handlers, and the run that a handler is given."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import (
    Builder,
    Decision,
    Options,
    Run,
    RunState,
)
from workflow.protocols import Backend
from workflow.testing import FakeClock, require, wait_for
from workflow.verify import verify

R: TypeAlias = Run[Thing, Status]
QUICK = Options(err_back_off=timedelta(milliseconds=10))
NAMES = (
    *("workflow_name", "foreign_id", "run_id", "run_state", "status", "object", "version", "attempt", "last_error"),
    *("created_at", "updated_at", "meta", "idempotency_key"),
)


async def test_a_status_that_was_not_declared_fails_the_attempt(backend: Backend) -> None:
    """R-UPDATE-1, R-GRAPH-7, W-18: also an equal one of another enum, a number, nothing."""
    from enum import IntEnum

    class Stranger(IntEnum):
        B = 2

    builder = Builder("undeclared", Thing, Status)
    wrong: list[Any] = [Status.C, Stranger.B, 2, None, "B"]

    @builder.step(Status.A, to=Status.B)
    async def work(run: R) -> Any:
        return wrong[run.attempt - 1]

    options = Options(err_back_off=timedelta(milliseconds=1), pause_after_err_count=len(wrong))
    wf = builder.build(backend, default_options=options)
    async with wf.running():
        run_id = await wf.trigger("key")
        paused = await wait_for(wf, "key", lambda run: run.run_state is RunState.PAUSED, timeout=PATIENCE)
        assert paused.status is Status.A
        errors = [version.last_error for version in (await wf.history(run_id))[1:]]
        assert len(errors) == len(wrong)
        for error, value in zip(errors, wrong, strict=True):
            assert error.startswith("InvalidTransition")
            assert repr(value) in error


async def test_a_decision_that_is_not_returned_fails_the_attempt(backend: Backend) -> None:
    builder = Builder("forgotten", Thing, Status)

    @builder.step(Status.A)
    async def work(run: R) -> Literal[Status.B]:
        if run.attempt == 1:
            run.pause("lost")
        return Status.B

    wf = builder.build(backend, default_options=QUICK)
    async with wf.running():
        run_id = await wf.trigger("key")
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
        failed = (await wf.history(run_id))[1]
        assert "`return` is missing" in failed.last_error
        assert (failed.run_state, failed.attempt) == (RunState.RUNNING, 2)


async def test_a_skip_drops_changes_and_the_others_keep_them(backend: Backend) -> None:
    """R-RUN-1, R-RUN-3, R-STEP-11, R-STEP-13: one call for a skip, and nothing is written."""
    builder = Builder("decisions", Thing, Status)
    calls: list[str] = []

    @builder.step(Status.A)
    async def work(run: R) -> Literal[Status.B] | Decision:
        calls.append(run.foreign_id)
        run.object.text = "changed"
        if run.foreign_id == "skip":
            return run.skip()
        if run.foreign_id == "pause":
            return run.pause("why")
        if run.foreign_id == "cancel":
            return run.cancel("why not")
        if run.object.count == 0:
            run.object = Thing(count=1, text="assigned")
            return run.save_and_repeat()
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        ids = {key: await wf.trigger(key) for key in ("skip", "pause", "cancel", "repeat")}
        paused = await wait_for(wf, "pause", lambda run: run.run_state is RunState.PAUSED, timeout=PATIENCE)
        cancelled = await wait_for(wf, "cancel", lambda run: run.run_state is RunState.CANCELLED, timeout=PATIENCE)
        repeated = await wf.wait_for("repeat", Status.B, timeout=PATIENCE)
        assert (paused.object.text, paused.meta.run_state_reason) == ("changed", "why")
        assert (cancelled.object.text, cancelled.meta.run_state_reason) == ("changed", "why not")
        assert (repeated.object.count, repeated.object.text, repeated.version) == (1, "changed", 3)
        skipped = await wf.get(ids["skip"])
        assert (skipped.version, skipped.object.text, skipped.run_state) == (1, "", RunState.INITIATED)
        assert calls.count("skip") == 1
        assert not (await verify(backend.record_store, wf)).violations


async def test_a_run_outside_of_a_handler_takes_no_decision_and_names_the_verb(backend: Backend) -> None:
    """R-RUN-4, R-HOOK-3: from get, latest, list, history, wait_for and in hooks."""
    builder = Builder("readings", Thing, Status)
    hooked: asyncio.Queue[R] = asyncio.Queue()

    @builder.step(Status.A)
    async def work(run: R) -> Literal[Status.B]:
        return Status.B

    @builder.on_complete
    async def completed(run: R) -> None:
        hooked.put_nowait(run)

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("key")
        readings = [await wf.wait_for("key", Status.B, timeout=PATIENCE), await wf.get(run_id), await wf.latest("key")]
        readings += [*await wf.list(), *await wf.history(run_id), await asyncio.wait_for(hooked.get(), 20)]
    for run in readings:
        for decide, verb in (
            (run.skip, "callback"),
            (run.pause, "pause"),
            (run.cancel, "cancel"),
            (run.save_and_repeat, "callback"),
        ):
            with pytest.raises(RuntimeError, match=rf"Workflow\.{verb}"):
                decide()


async def test_a_run_tells_who_it_is_and_where_it_stands(backend: Backend) -> None:
    """R-STEP-9, R-CALLBACK-10, R-TRIGGER-9, R-UPDATE-4, R-MODEL-4: initiated counts as running inside a handler."""
    clock = FakeClock(datetime(2025, 6, 1, 12, tzinfo=UTC))
    builder = Builder("telling", Thing, Status)
    seen: list[dict[str, Any]] = []

    @builder.step(Status.A)
    async def work(run: R) -> Literal[Status.B]:
        seen.append({name: getattr(run, name) for name in NAMES})
        if run.attempt == 1:
            raise ValueError("first")
        return Status.B

    @builder.callback(Status.B)
    async def called(run: R, payload: bytes) -> Literal[Status.C]:
        seen.append({name: getattr(run, name) for name in NAMES})
        return Status.C

    wf = builder.build(backend, clock=clock, default_options=Options(err_back_off=timedelta(0)))
    run_id = await wf.trigger("key", Thing(count=7))
    first = await wf.get(run_id)
    assert (first.run_state, first.version, first.attempt) == (RunState.INITIATED, 1, 1)
    assert first.meta.status_description == "A"
    assert "test_decisions.py" in first.meta.trace_origin
    clock.advance(timedelta(seconds=5))
    async with wf.running():
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
        await wf.callback("key", Status.B)
    one, two, three = seen
    assert (one["workflow_name"], one["foreign_id"], one["run_id"]) == ("telling", "key", run_id)
    assert [each["run_state"] for each in seen] == [RunState.RUNNING] * 3
    assert [each["version"] for each in seen] == [1, 2, 3]
    assert [each["attempt"] for each in seen] == [1, 2, 1]
    assert [each["status"] for each in seen] == [Status.A, Status.A, Status.B]
    assert one["idempotency_key"] == two["idempotency_key"] != three["idempotency_key"]
    assert one["last_error"] == three["last_error"] == ""
    assert two["last_error"].startswith("ValueError: first")
    assert one["created_at"] == three["created_at"] == datetime(2025, 6, 1, 12, tzinfo=UTC)
    assert three["updated_at"] == datetime(2025, 6, 1, 12, 0, 5, tzinfo=UTC)
    done = await wf.get(run_id)
    assert (done.meta.status_description, done.meta.trace_origin) == ("C", first.meta.trace_origin)
    assert done.object.count == 7


async def test_the_idempotency_key_lasts_as_long_as_the_step(backend: Backend) -> None:
    builder = Builder("keys", Thing, Status)
    keys: list[tuple[int, str]] = []

    @builder.step(Status.A)
    async def work(run: R) -> Literal[Status.B] | Decision:
        keys.append((run.attempt, run.idempotency_key))
        if len(keys) == 1:
            raise RuntimeError("again")
        if len(keys) == 2:
            return run.pause("look")
        if len(keys) == 3:
            return run.save_and_repeat()
        return Status.B

    wf = builder.build(backend, default_options=QUICK)
    async with wf.running():
        run_id = await wf.trigger("key")
        await wait_for(wf, "key", lambda run: run.run_state is RunState.PAUSED, timeout=PATIENCE)
        await wf.resume(run_id)
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
    assert [attempt for attempt, _ in keys] == [1, 2, 1, 1]
    assert keys[0][1] == keys[1][1] == keys[2][1] != keys[3][1]


async def test_a_kept_run_stays_as_it_was(backend: Backend) -> None:
    """R-STEP-14, W-47: no object is shared or used again for another run."""
    builder = Builder("kept", Thing, Status)
    kept: dict[str, R] = {}

    @builder.step(Status.A)
    async def work(run: R) -> Literal[Status.B]:
        kept[run.foreign_id] = run
        run.object.text = run.foreign_id
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        for number in range(20):
            await wf.trigger(f"run {number}")
        for number in range(20):
            await require(wf, f"run {number}", Status.B, Thing(text=f"run {number}"), timeout=PATIENCE)
    assert all(run.foreign_id == run.object.text == key for key, run in kept.items())
    with pytest.raises(RuntimeError, match=r"Workflow\.pause"):
        kept["run 3"].pause("too late")
    assert len({id(run) for run in kept.values()}) == 20


async def test_a_failed_attempts_changes_are_nowhere_to_be_seen(backend: Backend) -> None:
    builder = Builder("dirty", Thing, Status)

    @builder.step(Status.A)
    async def work(run: R) -> Literal[Status.B]:
        assert run.object == Thing(count=1)
        run.object.count = 99
        if run.attempt < 3:
            raise RuntimeError("after a change")
        return Status.B

    wf = builder.build(backend, default_options=QUICK)
    async with wf.running():
        run_id = await wf.trigger("key", Thing(count=1))
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert [version.object.count for version in await wf.history(run_id)] == [1, 1, 1, 99]
        found = await wait_for(wf, "key", lambda run: run.object.count == 99, timeout=PATIENCE)
        assert found.version == 4
