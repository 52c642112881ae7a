"""Handlers in every shape, the ways to name destinations, and what a Run tells and takes."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

import anyio
import anyio.lowlevel
import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import (
    Builder,
    BuildError,
    Decision,
    InvalidTransition,
    NotWaiting,
    Options,
    RecordNotFound,
    Run,
    RunState,
)
from workflow.protocols import Backend
from workflow.testing import FakeClock, await_timeout_insert, require, wait_for
from workflow.verify import verify
from workflow_adapters.memory import MemoryBackend

R: TypeAlias = Run[Thing, Status]
Onward: TypeAlias = Literal[Status.B, Status.C]
QUICK = Options(err_back_off=timedelta(milliseconds=10))


async def by_string(run: R) -> Literal[Status.B]:
    return Status.B


async def by_alias(run: R) -> Onward | Decision:
    return Status.B


async def with_more(extra: int, run: R) -> Literal[Status.B]:
    run.object.count = extra
    return Status.B


def in_a_thread(run: R) -> Literal[Status.B]:
    assert threading.current_thread() is not threading.main_thread()
    return Status.B


class Steps:
    """Handlers that belong to an object."""

    async def bound(self, run: R) -> Literal[Status.B]:
        return Status.B

    def __call__(self, run: R) -> Literal[Status.B]:
        return Status.B


class AsyncCallable:
    """A callable object whose call is a coroutine."""

    async def __call__(self, run: R) -> Literal[Status.B]:
        return Status.B


def traced(fn: Callable[[R], Awaitable[Any]]) -> Callable[[R], Awaitable[Any]]:
    """A decorator as users write them: plain, around an async function."""

    @functools.wraps(fn)
    def call(run: R) -> Awaitable[Any]:
        return fn(run)

    return call


HANDLERS: dict[str, Any] = {
    "string annotation": by_string,
    "alias": by_alias,
    "partial": functools.partial(with_more, 3),
    "bound method": Steps().bound,
    "callable object": Steps(),
    "async callable object": AsyncCallable(),
    "decorated": traced(by_string),
    "plain function": in_a_thread,
    "partial of a plain function": functools.partial(in_a_thread),
}


@pytest.mark.parametrize("name", [*HANDLERS])
async def test_destinations_are_read_from_a_handler_of_any_shape_and_it_runs(name: str) -> None:
    builder = Builder("shapes", Thing, Status)
    builder.step(Status.A)(HANDLERS[name])
    if "alias" in name:
        builder.step(Status.B, to=Status.C)(lambda run: Status.C)
    wf = builder.build(MemoryBackend())
    async with wf.running():
        await wf.trigger("key")
        run = await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert not run.last_error


async def test_names_of_the_enclosing_function_are_known() -> None:
    """An enum of a closure, in annotations that are strings."""
    from enum import IntEnum

    class Local(IntEnum):
        ON = 1
        OFF = 0

    builder = Builder("closure", Thing, Local)

    @builder.step(Local.ON)
    async def switch(run: Run[Thing, Local]) -> Literal[Local.OFF]:
        return Local.OFF

    wf = builder.build(MemoryBackend())
    async with wf.running():
        await wf.trigger("key")
        assert (await wf.wait_for("key", Local.OFF, timeout=PATIENCE)).status is Local.OFF


@pytest.mark.parametrize(
    "to",
    [Status.B, [Status.B], (Status.B,), {Status.B}, iter([Status.B]), [Status.B, Status.B]],
    ids=["status", "list", "tuple", "set", "iterator", "twice"],
)
async def test_destinations_may_be_one_status_or_any_iterable(to: Any) -> None:
    builder = Builder("to", Thing, Status)
    builder.step(Status.A, to=to)(lambda run: Status.B)
    wf = builder.build(MemoryBackend())
    async with wf.running():
        await wf.trigger("key")
        await wf.wait_for("key", Status.B, timeout=PATIENCE)


def test_destinations_given_twice_must_agree() -> None:
    builder = Builder("twice", Thing, Status)
    builder.step(Status.A, to=[Status.C, Status.B])(by_alias)
    builder.step(Status.B, to=Status.D)(by_string)
    with pytest.raises(BuildError) as caught:
        builder.build(MemoryBackend())
    assert len(caught.value.problems) == 1, caught.value.problems
    assert "step(<Status.B: 2>)" in caught.value.problems[0]


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
    assert "test_handlers.py" in first.meta.trace_origin
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


NAMES = (
    *("workflow_name", "foreign_id", "run_id", "run_state", "status", "object", "version", "attempt", "last_error"),
    *("created_at", "updated_at", "meta", "idempotency_key"),
)


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


async def test_callbacks_of_one_status_each_get_the_whole_payload(backend: Backend) -> None:
    """R-BUILD-5, R-CALLBACK-6, R-CALLBACK-9, W-25: in order of declaration, until one moves the run."""
    builder = Builder("several", Thing, Status)
    got: list[object] = []

    @builder.callback(Status.A)
    async def raw(run: R, payload: bytes) -> Decision:
        got.append(payload)
        return run.skip()

    @builder.callback(Status.A)
    def listed(run: R, payload: list[int]) -> Decision:
        got.append(payload)
        run.object.count += sum(payload)
        return run.save_and_repeat()

    @builder.callback(Status.A)
    async def bare(run: R, payload) -> Literal[Status.B]:  # type: ignore[no-untyped-def]
        got.append(payload)
        run.object.count *= 2
        return Status.B

    @builder.callback(Status.A)
    async def late(run: R, payload: bytes) -> Literal[Status.C]:
        got.append("too late")
        return Status.C

    wf = builder.build(backend)
    run_id = await wf.trigger("key")
    await wf.callback("key", Status.A, b"[1,2]")
    assert got == [b"[1,2]", [1, 2], b"[1,2]"]
    run = await wf.get(run_id)
    assert (run.status, run.object.count, run.version) == (Status.B, 6, 3)


async def test_a_callback_that_fails_is_the_callers_to_know_and_changes_nothing(backend: Backend) -> None:
    """R-CALLBACK-3, R-CALLBACK-7."""
    builder = Builder("raising", Thing, Status)

    @builder.callback(Status.A, to=Status.B)
    async def answer(run: R, payload: bytes) -> Any:
        run.object.text = "half-written"
        if payload == b"raise":
            raise KeyError("mine")
        if payload == b"forbidden":
            return Status.C
        if payload == b"unencodable":
            run.object.text = object()  # type: ignore[assignment]
        return Status.B

    wf = builder.build(backend)
    with pytest.raises(RecordNotFound):
        await wf.callback("key", Status.A)
    run_id = await wf.trigger("key")
    with pytest.raises(KeyError, match="mine"):
        await wf.callback("key", Status.A, b"raise")
    with pytest.raises(InvalidTransition) as caught:
        await wf.callback("key", Status.A, b"forbidden")
    assert (caught.value.run_id, caught.value.current, caught.value.wanted) == (run_id, Status.A, Status.C)
    with pytest.raises(Exception, match=rf"raising.*{run_id}.*encoded"):
        await wf.callback("key", Status.A, b"unencodable")
    run = await wf.get(run_id)
    assert (run.version, run.object, run.attempt) == (1, Thing(), 1)


async def test_not_waiting_says_where_the_run_is(backend: Backend) -> None:
    """R-CALLBACK-4, R-CALLBACK-5, W-25."""
    builder = Builder("where", Thing, Status)
    builder.callback(Status.A, to=Status.B)(lambda run, payload: Status.B)
    builder.callback(Status.B, to=Status.C)(lambda run, payload: Status.C)
    wf = builder.build(backend)
    run_id = await wf.trigger("key")
    for prepare, status, state in (
        (None, Status.A, RunState.INITIATED),
        (wf.pause, Status.A, RunState.PAUSED),
        (wf.cancel, Status.A, RunState.CANCELLED),
    ):
        if prepare is not None:
            await prepare(run_id)
        with pytest.raises(NotWaiting) as caught:
            await wf.callback("key", Status.B if prepare is None else Status.A)
        assert (caught.value.status, caught.value.run_state) == (status, state)
        assert (caught.value.foreign_id, caught.value.run_id) == ("key", run_id)
        assert str(state) in str(caught.value)


async def test_plain_functions_run_in_threads_wherever_a_handler_may_be(backend: Backend) -> None:
    """R-API-8: step, callback, timer, timeout and hook, none on the loop."""
    clock = FakeClock()
    builder = Builder("threads", Thing, Status)
    threads: dict[str, threading.Thread] = {}

    def note(name: str) -> None:
        threads[name] = threading.current_thread()

    @builder.callback(Status.A)
    def called(run: R, payload: bytes) -> Literal[Status.B]:
        note("callback")
        return Status.B

    @builder.step(Status.B)
    def stepped(run: R) -> Literal[Status.C]:
        note("step")
        return Status.C

    def timer(run: R, now: datetime) -> datetime | None:
        note("timer")
        return now + timedelta(hours=1)

    @builder.timeout(Status.C, timer)
    def expired(run: R, now: datetime) -> Literal[Status.D]:
        note("timeout")
        return Status.D

    @builder.on_complete
    def completed(run: R) -> None:
        note("hook")

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        run_id = await wf.trigger("key")
        await wf.callback("key", Status.A)
        await await_timeout_insert(wf, "key", run_id, Status.C, timeout=PATIENCE)
        clock.advance(timedelta(hours=1))
        await wf.wait_for("key", Status.D, timeout=PATIENCE)
        async with asyncio.timeout(20):
            while "hook" not in threads:
                await asyncio.sleep(0.01)
    assert set(threads) == {"callback", "step", "timer", "timeout", "hook"}
    assert threading.main_thread() not in threads.values()


async def test_a_plain_function_that_overruns_fails_its_attempt_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    builder = Builder("overrun", Thing, Status)
    running = threading.Semaphore(1)

    @builder.step(Status.A, options=Options(timeout=timedelta(milliseconds=50), err_back_off=timedelta(0)))
    def slow(run: R) -> Literal[Status.B]:
        assert running.acquire(blocking=False), "two attempts at once"
        try:
            if run.attempt == 1:
                time.sleep(0.3)
            return Status.B
        finally:
            running.release()

    wf = builder.build(MemoryBackend())
    async with wf.running():
        run_id = await wf.trigger("key")
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert "took longer than" in (await wf.history(run_id))[1].last_error
    assert "slow overran its timeout" in caplog.text


async def test_a_handler_may_be_written_with_anyio(backend: Backend) -> None:
    builder = Builder("with anyio", Thing, Status)

    @builder.step(Status.A, options=Options(timeout=timedelta(seconds=10)))
    async def work(run: R) -> Literal[Status.B]:
        async def add() -> None:
            await anyio.lowlevel.checkpoint()
            run.object.count += 1

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(add)
        with anyio.move_on_after(0.01):
            await anyio.sleep_forever()
        run.object.text = await anyio.to_thread.run_sync(lambda: threading.current_thread().name)
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        await wf.trigger("key")
        run = await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert run.object.count == 3
        assert not run.last_error


async def test_an_async_handler_that_blocks_the_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    builder = Builder("blocking", Thing, Status)

    @builder.step(Status.A)
    async def sleeps_in_the_loop(run: R) -> Literal[Status.B]:
        await asyncio.sleep(0)
        time.sleep(0.15)  # noqa: ASYNC251 - what is warned about
        return Status.B

    wf = builder.build(MemoryBackend())
    with caplog.at_level(logging.WARNING, logger="workflow"):
        async with wf.running():
            await wf.trigger("key")
            await wf.wait_for("key", Status.B, timeout=PATIENCE)
    warning = next(record for record in caplog.records if "blocked the event loop" in record.getMessage())
    assert "sleeps_in_the_loop" in warning.getMessage()
    assert "sleeps_in_the_loop" in warning.handler  # type: ignore[attr-defined]


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
