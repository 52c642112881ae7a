"""Steps, from trigger to the end of the run."""

import asyncio
from datetime import timedelta
from typing import Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import (
    Builder,
    BuildError,
    Decision,
    Options,
    Run,
    RunState,
)
from workflow.protocols import Backend
from workflow.testing import require
from workflow.verify import verify
from workflow_adapters.memory import MemoryBackend


async def test_a_run_passes_every_step_and_its_history_shows_it(backend: Backend) -> None:
    """R-TRACE-1, R-EX-1."""
    builder = Builder("passing", Thing, Status)

    @builder.step(Status.A, to=Status.B)
    async def first(run: Run[Thing, Status]) -> Status:
        run.object.count += 1
        return Status.B

    @builder.step(Status.B, to=Status.C)
    def second(run: Run[Thing, Status]) -> Status:
        run.object.text = "from a thread"
        return Status.C

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("one")
        await require(wf, "one", Status.B, Thing(count=1), timeout=PATIENCE)
        await require(wf, "one", Status.C, Thing(count=1, text="from a thread"), timeout=PATIENCE)
        history = await wf.history(run_id)
        assert [version.run_state for version in history] == [
            RunState.INITIATED,
            RunState.RUNNING,
            RunState.COMPLETED,
        ]
        assert [version.version for version in history] == [1, 2, 3]
        report = await verify(backend.record_store, wf, acknowledged={run_id: 3})
        assert not report.violations


async def test_many_runs_at_once_all_complete(backend: Backend) -> None:
    """R-TEST-4: several shards, many runs."""
    builder = Builder("many", Thing, Status)

    @builder.step(Status.A, to=Status.B, options=Options(parallel_count=3))
    async def first(run: Run[Thing, Status]) -> Status:
        await asyncio.sleep(0)
        return Status.B

    @builder.step(Status.B, to=Status.C)
    async def second(run: Run[Thing, Status]) -> Status:
        return Status.C

    wf = builder.build(backend)
    async with wf.running():
        run_ids = await asyncio.gather(*(wf.trigger(f"run {number}") for number in range(200)))
        await asyncio.gather(
            *(wf.wait_for(f"run {n}", Status.C, run_id=run_id, timeout=PATIENCE) for n, run_id in enumerate(run_ids))
        )
        report = await verify(backend.record_store, wf, acknowledged=dict.fromkeys(run_ids, 3))
        assert not report.violations


async def test_save_and_repeat_runs_the_step_again_with_what_was_saved(backend: Backend) -> None:
    """R-UPDATE-3: a hundred times."""
    builder = Builder("repeating", Thing, Status)

    @builder.step(Status.A)
    async def count(run: Run[Thing, Status]) -> Literal[Status.B] | Decision:
        run.object.count += 1
        return Status.B if run.object.count == 100 else run.save_and_repeat()

    wf = builder.build(backend)
    async with wf.running():
        await wf.trigger("loop")
        run = await wf.wait_for("loop", Status.B, timeout=PATIENCE)
        assert (run.object.count, run.version) == (100, 101)


async def test_a_run_that_fails_does_not_hold_back_the_others(backend: Backend) -> None:
    """W-8."""
    builder = Builder("one bad", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        if run.foreign_id == "bad":
            raise RuntimeError("always")
        return Status.B

    wf = builder.build(backend, default_options=Options(max_in_flight=1))
    async with wf.running():
        await wf.trigger("bad")
        for name in ("good 1", "good 2", "good 3"):
            await wf.trigger(name)
            await wf.wait_for(name, Status.B, timeout=PATIENCE)
        bad = await wf.latest("bad")
        assert bad.attempt >= 2
        assert "RuntimeError: always" in bad.last_error


async def test_a_hanging_handler_fails_its_attempt(backend: Backend) -> None:
    builder = Builder("hanging", Thing, Status)
    options = Options(timeout=timedelta(milliseconds=50), err_back_off=timedelta(milliseconds=10))

    @builder.step(Status.A, options=options)
    async def hang(run: Run[Thing, Status]) -> Literal[Status.B]:
        if run.attempt == 1:
            await asyncio.Event().wait()
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("slow")
        await wf.wait_for("slow", Status.B, timeout=PATIENCE)
        assert "took longer than" in (await wf.history(run_id))[1].last_error


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


async def test_a_cycle_may_be_gone_round_and_a_status_may_lead_to_itself(backend: Backend) -> None:
    """R-GRAPH-2, R-GRAPH-6, W-9: each entry is a visit of its own."""
    builder = Builder("round", Thing, Status)

    @builder.step(Status.A)
    async def around(run: Run[Thing, Status]) -> Literal[Status.A, Status.B]:
        run.object.count += 1
        return Status.A if run.object.count % 3 else Status.B

    @builder.step(Status.B)
    async def back(run: Run[Thing, Status]) -> Literal[Status.A, Status.C]:
        return Status.A if run.object.count < 6 else Status.C

    wf = builder.build(backend, starting_point=Status.A)
    async with wf.running():
        run_id = await wf.trigger("key")
        run = await wf.wait_for("key", Status.C, timeout=PATIENCE)
        assert run.object.count == 6
        path = "".join(version.status.name for version in await wf.history(run_id))
        assert path == "AAABAAABC"
        assert not (await verify(backend.record_store, wf)).violations
