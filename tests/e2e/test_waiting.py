"""Waiting for runs: for a status, for the first of several, for the end; on every backend."""

import asyncio
from datetime import timedelta
from typing import Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing, chain, waiting
from workflow import (
    Builder,
    RecordNotFound,
    Run,
    RunFinished,
    RunState,
    WaitTimeout,
    Workflow,
)
from workflow.protocols import Backend


async def waiters(wf: Workflow[Thing, Status], count: int) -> None:
    """Return once so many wait for the runs of "key"."""
    async with asyncio.timeout(20):
        while len(wf._engine.news._watches.get("key", ())) < count:
            await asyncio.sleep(0.005)


async def test_a_wait_that_begins_before_there_is_a_run_takes_the_first_to_appear(backend: Backend) -> None:
    """R-AWAIT-1, R-AWAIT-3: and no run of another foreign ID."""
    wf = chain().build(backend, starting_point=Status.A)
    async with wf.running():
        waiting = asyncio.create_task(wf.wait_for("key", Status.B, timeout=PATIENCE))
        await wf.trigger("other")
        await wf.callback("other", Status.A)
        run_id = await wf.trigger("key")
        assert not waiting.done()
        await wf.callback("key", Status.A)
        run = await waiting
        assert (run.run_id, run.status, run.foreign_id) == (run_id, Status.B, "key")


async def test_without_a_run_id_the_latest_run_is_meant_and_with_it_that_one(backend: Backend) -> None:
    """R-AWAIT-4, W-17: an earlier run that passed the status does not answer for the later one."""
    wf = chain().build(backend, starting_point=Status.A)
    async with wf.running():
        first = await wf.trigger("key")
        await wf.callback("key", Status.A)
        await wf.cancel(first)
        second = await wf.trigger("key")
        assert (await wf.wait_for("key", Status.B, run_id=first, timeout=PATIENCE)).run_id == first
        with pytest.raises(WaitTimeout) as caught:
            await wf.wait_for("key", Status.B, timeout=timedelta(milliseconds=50))
        assert (caught.value.run_id, caught.value.timeout) == (None, timedelta(milliseconds=50))
        await wf.callback("key", Status.A)
        assert (await wf.wait_for("key", Status.B, timeout=PATIENCE)).run_id == second


async def test_a_status_that_was_passed_long_ago_is_reached(backend: Backend) -> None:
    """W-4: even if the run has ended elsewhere, is paused, or its data is erased."""
    wf = chain().build(backend, starting_point=Status.A)
    async with wf.running():
        run_id = await wf.trigger("key")
        await wf.callback("key", Status.A)
        await wf.callback("key", Status.B, b"A")
        await wf.pause(run_id)
        run = await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert (run.status, run.run_state) == (Status.A, RunState.PAUSED)
        await wf.cancel(run_id)
        await wf.delete_data(run_id)
        assert (await wf.wait_for("key", Status.B, timeout=PATIENCE)).run_state.finished


async def test_what_a_wait_returns_is_not_older_than_the_arrival(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run gets there after it was read and before it is asked whether it was there."""
    wf = chain().build(backend, starting_point=Status.A)
    first_version_at = backend.record_store.first_version_at

    async def moved_meanwhile(run_id: str, status: int, *, since: int = 1) -> int | None:
        monkeypatch.undo()
        await wf.callback("key", Status.A)
        return await first_version_at(run_id, status, since=since)

    async with wf.running():
        await wf.trigger("key")
        monkeypatch.setattr(backend.record_store, "first_version_at", moved_meanwhile)
        assert (await wf.wait_for("key", Status.B, timeout=PATIENCE)).status is Status.B


async def test_a_wait_ends_when_the_graph_leads_there_no_more(backend: Backend) -> None:
    """W-5, R-AWAIT-7: also one that began before, and a paused run is waited for."""
    wf = chain().build(backend, starting_point=Status.A)
    async with wf.running():
        run_id = await wf.trigger("key")
        waiting = asyncio.create_task(wf.wait_for("key", Status.C, timeout=PATIENCE))
        await waiters(wf, 1)
        await wf.pause(run_id)
        assert not waiting.done()
        await wf.resume(run_id)
        await wf.callback("key", Status.A, b"D")
        with pytest.raises(RunFinished) as caught:
            await waiting
        error = caught.value
        assert (error.workflow_name, error.run_id, error.status, error.wanted) == ("chain", run_id, Status.D, Status.C)
        assert error.run_state is RunState.COMPLETED
        with pytest.raises(RunFinished):
            await wf.wait_for("key", Status.B, timeout=PATIENCE)


async def test_cancelling_a_wait_changes_nothing_and_leaves_nothing(backend: Backend) -> None:
    wf = chain().build(backend, starting_point=Status.A)
    async with wf.running():
        run_id = await wf.trigger("key")
        others = [asyncio.create_task(wf.wait_for("key", Status.B, timeout=PATIENCE)) for _ in range(3)]
        gone = asyncio.create_task(wf.wait_for("key", Status.B))
        await waiters(wf, 4)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await wf.wait_for("key", Status.B)
        await wf.callback("key", Status.A)
        assert [run.run_id for run in await asyncio.gather(*others)] == [run_id] * 3
        assert not wf._engine.news._watches


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


async def test_the_first_of_several_statuses_ends_a_wait(backend: Backend) -> None:
    wf = chain().build(backend, starting_point=Status.A)
    async with wf.running():
        run_id = await wf.trigger("key")
        waiting = asyncio.create_task(wf.wait_for("key", {Status.C, Status.D}, timeout=PATIENCE))
        await waiters(wf, 1)
        await wf.callback("key", Status.A)
        assert not waiting.done()
        await wf.callback("key", Status.B)
        run = await waiting
        assert (run.run_id, run.status) == (run_id, Status.C)
        passed = await wf.wait_for("key", [Status.D, Status.B], timeout=PATIENCE)
        assert (passed.run_id, passed.status) == (run_id, Status.C)


async def test_a_wait_for_several_statuses_ends_when_none_of_them_can_be_reached(backend: Backend) -> None:
    builder = Builder("forked", Thing, Status)

    @builder.callback(Status.A)
    async def fork(run: Run[Thing, Status], payload: bytes) -> Literal[Status.B, Status.C, Status.D]:
        return Status.C if payload == b"C" else Status.B

    wf = builder.build(backend)
    async with wf.running():
        await wf.trigger("key")
        waiting = asyncio.create_task(wf.wait_for("key", (Status.B, Status.D), timeout=PATIENCE))
        await waiters(wf, 1)
        await wf.callback("key", Status.A, b"C")
        with pytest.raises(RunFinished, match="can no longer reach") as caught:
            await waiting
        assert caught.value.wanted == (Status.B, Status.D)


@pytest.mark.parametrize("how", ["completes", "is cancelled"])
async def test_waiting_for_the_end_returns_the_run_as_it_ended(backend: Backend, how: str) -> None:
    wf = chain().build(backend, starting_point=Status.A)
    async with wf.running():
        waiting = asyncio.create_task(wf.wait_until_finished("key", timeout=PATIENCE))
        await waiters(wf, 1)
        run_id = await wf.trigger("key")
        await wf.pause(run_id)
        await wf.resume(run_id)
        await wf.callback("key", Status.A)
        assert not waiting.done()
        await (wf.callback("key", Status.B) if how == "completes" else wf.cancel(run_id))
        wanted = RunState.COMPLETED if how == "completes" else RunState.CANCELLED
        for run in (await waiting, await wf.wait_until_finished("key", run_id=run_id, timeout=PATIENCE)):
            assert (run.run_id, run.run_state) == (run_id, wanted)


async def test_waiting_for_the_end_gives_up_in_time_and_names_unknown_runs(backend: Backend) -> None:
    wf = chain().build(backend, starting_point=Status.A)
    async with wf.running():
        await wf.trigger("key")
        with pytest.raises(WaitTimeout, match="its end"):
            await wf.wait_until_finished("key", timeout=timedelta(milliseconds=20))
        with pytest.raises(RecordNotFound):
            await wf.wait_until_finished("key", run_id="nobody", timeout=PATIENCE)
