"""The kit for tests of workflows: fixtures of the plugin, helpers, runs to call handlers with, the diagram."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.e2e.model import Status, Thing
from workflow import (
    Builder,
    Decision,
    Direction,
    Run,
    RunState,
    StatusNotConfigured,
    WaitTimeout,
    Workflow,
    create_diagram,
    diagram,
)
from workflow._model.decision import Kind
from workflow.protocols import Backend
from workflow.testing import FakeClock, await_timeout_insert, new_testing_run, require, trigger_callback_on, wait_for
from workflow_adapters.memory import MemoryBackend

MOMENT = timedelta(milliseconds=50)
RunWorkflow = Callable[[Workflow[Any, Any]], AbstractAsyncContextManager[Workflow[Any, Any]]]

builder = Builder("kit", Thing, Status)


@builder.step(Status.A)
async def count(run: Run[Thing, Status]) -> Literal[Status.B] | Decision:
    run.object.count += 1
    return Status.B if run.object.text != "stop" else run.cancel("told to")


@builder.callback(Status.B)
async def answer(run: Run[Thing, Status], payload: dict[str, str]) -> Literal[Status.C]:
    run.object.text = payload["text"]
    return Status.C


@builder.timeout(Status.C, timedelta(hours=1))
def expire(run: Run[Thing, Status], now: datetime) -> Literal[Status.D]:
    return Status.D


async def test_the_plugin_brings_a_clock_a_backend_and_a_way_to_run(
    fake_clock: FakeClock, memory_backend: Backend, run_workflow: RunWorkflow
) -> None:
    wf = builder.build(memory_backend, clock=fake_clock)
    async with run_workflow(wf) as running:
        assert running is wf
        run_id = await wf.trigger("key")
        await require(wf, "key", Status.B, Thing(count=1))
        await trigger_callback_on(wf, "key", run_id, Status.B, {"text": "yes"})
        await await_timeout_insert(wf, "key", run_id, Status.C)
        fake_clock.advance(timedelta(hours=1))
        run = await require(wf, "key", Status.D, Thing(1, "yes"))
        assert (run.run_state, run.updated_at) == (RunState.COMPLETED, fake_clock.now())
    assert fake_clock.now() == datetime(2025, 1, 1, 1, tzinfo=UTC)


async def test_require_says_what_differs(backend: Backend) -> None:
    """R-TESTING-4."""
    wf = builder.build(backend)
    async with wf.running():
        await wf.trigger("key")
        with pytest.raises(AssertionError, match="count=2"):
            await require(wf, "key", Status.B, Thing(count=2))
        with pytest.raises(WaitTimeout):
            await require(wf, "key", Status.C, Thing(), timeout=MOMENT)
        small = Builder("small", Thing, Status)
        small.step(Status.A, to=Status.B)(lambda run: Status.B)
        with pytest.raises(StatusNotConfigured):
            await require(small.build(backend), "key", Status.D, Thing())


async def test_wait_for_sees_every_version_and_only_of_the_latest_run(backend: Backend) -> None:
    """R-TESTING-3, R-TESTING-5: an error of the predicate is the test's."""
    wf = builder.build(backend)
    async with wf.running():
        waiting = asyncio.create_task(wait_for(wf, "key", lambda run: run.status is Status.A))
        await wf.trigger("key")
        assert (await waiting).version == 1
        assert (await wait_for(wf, "key", lambda run: run.object.count == 1)).status is Status.B
        with pytest.raises(ZeroDivisionError):
            await wait_for(wf, "key", lambda run: 1 / 0 > 1)
        with pytest.raises(TimeoutError):
            await wait_for(wf, "key", lambda run: False, timeout=MOMENT)
        with pytest.raises(TimeoutError):
            await wait_for(wf, "nobody", lambda run: True, timeout=MOMENT)


async def test_waiting_for_a_timer_ends_when_it_cannot_be_armed(backend: Backend) -> None:
    """R-TESTING-7."""
    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("key")
        with pytest.raises(WaitTimeout):
            await await_timeout_insert(wf, "key", run_id, Status.C, timeout=MOMENT)
        with pytest.raises(StatusNotConfigured, match="no timeout"):
            await await_timeout_insert(wf, "key", run_id, Status.B, timeout=MOMENT)


async def test_a_handler_can_be_called_without_an_engine() -> None:
    """R-TESTING-8, R-TESTING-9: sync or async, its decisions are values."""
    run = new_testing_run(Status.A, Thing(count=1))
    assert await count(run) is Status.B
    assert run.object.count == 2
    stopped = await count(new_testing_run(Status.A, Thing(text="stop")))
    assert stopped == Decision(Kind.CANCEL, "told to")
    assert expire(new_testing_run(Status.C, Thing(), attempt=3), datetime.now(UTC)) is Status.D
    run = new_testing_run(Status.B, Thing(), foreign_id="f", run_id="r", workflow_name="w", version=4, attempt=2)
    assert (run.foreign_id, run.run_id, run.workflow_name, run.version, run.attempt) == ("f", "r", "w", 4, 2)
    assert (run.run_state, run.status, run.last_error) == (RunState.RUNNING, Status.B, "")
    assert await answer(run, {"text": "hello"}) is Status.C
    seen: list[Decision] = []

    def refuse(decision: Decision) -> Decision:
        seen.append(decision)
        raise ConnectionError("cannot")

    run = new_testing_run(Status.A, Thing(text="stop"), decide=refuse)
    with pytest.raises(ConnectionError):
        await count(run)
    assert [decision.reason for decision in seen] == ["told to"]
    for make, kind in (
        (run.skip, Kind.SKIP),
        (lambda: run.pause("p"), Kind.PAUSE),
        (run.save_and_repeat, Kind.SAVE_AND_REPEAT),
    ):
        with pytest.raises(ConnectionError):
            make()
        assert seen[-1].kind is kind


def test_a_fake_clock_stands_still_and_needs_a_zone() -> None:
    clock = FakeClock(datetime(2030, 1, 1, tzinfo=UTC))
    assert clock.now() == clock.now() == datetime(2030, 1, 1, tzinfo=UTC)
    clock.advance(timedelta(days=1))
    clock.set(datetime(2029, 1, 1, tzinfo=UTC))
    assert clock.now() == datetime(2029, 1, 1, tzinfo=UTC)
    for act in (lambda: FakeClock(datetime(2030, 1, 1)), lambda: clock.set(datetime(2030, 1, 1))):
        with pytest.raises(ValueError, match="time zone"):
            act()


def test_a_workflow_is_drawn_and_nothing_else_is(tmp_path: Path) -> None:
    """R-DIAG-1, R-DIAG-3, R-DIAG-4."""
    wf = builder.build(MemoryBackend())
    drawn = diagram(wf)
    assert drawn == diagram(wf, Direction.LEFT_TO_RIGHT)
    assert drawn == (
        "```mermaid\n---\ntitle: Workflow diagram of kit\n---\nstateDiagram-v2\n\tdirection LR\n\t"
        "\n\t1: A\n\t2: B\n\t3: C\n\t4: D\n\t\n\t1-->2\n\t2-->3\n\t3-->4\n```"
    )
    path = tmp_path / "made" / "on the way" / "kit.md"
    create_diagram(wf, path, Direction.TOP_TO_BOTTOM)
    assert path.read_text() == drawn.replace("direction LR", "direction TB")
    wrong: Any
    for wrong in (None, "kit", builder):
        with pytest.raises(TypeError, match="not a Workflow"):
            create_diagram(wrong, tmp_path / "none.md")
    for wrong in ("LR", "sideways", None):
        with pytest.raises(TypeError, match="direction"):
            create_diagram(wf, tmp_path / "none.md", wrong)
    assert not (tmp_path / "none.md").exists()
