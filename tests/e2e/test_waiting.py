"""NewsFeed for a status, starting runs, listing and reading them, on every backend."""

import asyncio
from datetime import timedelta
from typing import Literal
from uuid import UUID

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, Conflict, Options, Order, Run, RunFinished, RunState, WaitTimeout, WorkflowInProgress
from workflow.protocols import Backend
from workflow.testing import FakeClock
from workflow.verify import verify


def chain(name: str = "chain") -> Builder[Thing, Status]:
    """Each status waits for a callback, which says in its payload what becomes of the run; C and D are terminal."""
    builder = Builder(name, Thing, Status)

    @builder.callback(Status.A)
    async def first(run: Run[Thing, Status], payload: bytes) -> Literal[Status.B, Status.D]:
        return Status.D if payload == b"D" else Status.B

    @builder.callback(Status.B)
    async def second(run: Run[Thing, Status], payload: bytes) -> Literal[Status.A, Status.C]:
        return Status.A if payload == b"A" else Status.C

    return builder


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
    passed = backend.record_store.passed

    async def moved_meanwhile(run_id: str, status: int) -> int | None:
        monkeypatch.undo()
        await wf.callback("key", Status.A)
        return await passed(run_id, status)

    async with wf.running():
        await wf.trigger("key")
        monkeypatch.setattr(backend.record_store, "passed", moved_meanwhile)
        assert (await wf.wait_for("key", Status.B, timeout=PATIENCE)).status is Status.B


async def test_a_wait_ends_when_the_graph_leads_there_no_more(backend: Backend) -> None:
    """W-5, R-AWAIT-7: also one that began before, and a paused run is waited for."""
    wf = chain().build(backend, starting_point=Status.A)
    async with wf.running():
        run_id = await wf.trigger("key")
        waiting = asyncio.create_task(wf.wait_for("key", Status.C, timeout=PATIENCE))
        await wf.pause(run_id)
        await asyncio.sleep(0.05)
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
        await asyncio.sleep(0.05)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await wf.wait_for("key", Status.B)
        await wf.callback("key", Status.A)
        assert [run.run_id for run in await asyncio.gather(*others)] == [run_id] * 3
        assert not wf._engine.news._watches


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
    for attempt in (
        lambda: wf.trigger("another key", run_id="order-7"),
        lambda: other.trigger("key", run_id="order-7"),
    ):
        with pytest.raises(Conflict) as refused:
            await attempt()
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


async def test_runs_are_listed_by_every_condition(backend: Backend) -> None:
    """R-API-6, R-RSTORE-4, W-28, W-49: ids with commas are one id; conditions are joined by AND."""
    clock = FakeClock()
    wf = chain().build(backend, starting_point=Status.A, clock=clock)
    ids = []
    for number in range(6):
        ids.append(await wf.trigger(f"a,b {number}"))
        clock.advance(timedelta(minutes=1))
    await wf.callback("a,b 1", Status.A)
    await wf.callback("a,b 2", Status.A)
    await wf.pause(ids[2])
    await wf.cancel(ids[3])

    async def found(**conditions: object) -> list[int]:
        return [ids.index(run.run_id) for run in await wf.list(**conditions)]  # type: ignore[arg-type]

    begin = clock.now() - timedelta(minutes=6)
    assert await found() == [0, 1, 2, 3, 4, 5]
    assert await found(order=Order.DESCENDING, limit=2) == [5, 4]
    assert await found(order=Order.DESCENDING, offset=4) == [1, 0]
    assert await found(offset=6) == []
    assert await found(foreign_ids=["a,b 4"]) == [4]
    assert await found(foreign_ids=["a", "b 4"]) == []
    assert await found(statuses=[Status.B]) == [1, 2]
    assert await found(statuses=[Status.A, Status.B], run_states=[RunState.PAUSED, RunState.CANCELLED]) == [2, 3]
    assert await found(statuses=(Status.B,), run_states={RunState.RUNNING}) == [1]
    assert await found(created_after=begin) == [1, 2, 3, 4, 5]
    assert await found(created_after=begin, created_before=begin + timedelta(minutes=3)) == [1, 2]
    assert await found(created_after=begin + timedelta(hours=1)) == []


async def test_at_most_twenty_five_runs_are_listed_unless_more_are_asked_for(backend: Backend) -> None:
    wf = chain().build(backend, starting_point=Status.A)
    await asyncio.gather(*(wf.trigger(f"key {number}") for number in range(30)))
    assert (len(await wf.list()), len(await wf.list(limit=100))) == (25, 30)


async def test_a_run_paused_and_resumed_begins_its_attempts_anew(backend: Backend) -> None:
    """R-TRACE-2, R-TRACE-3, R-STATE-7: resuming runs the step again at a new version; old events do nothing."""
    builder = Builder("trace", Thing, Status)
    calls: list[tuple[int, int]] = []

    @builder.step(Status.A)
    async def first(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    @builder.step(Status.B)
    async def second(run: Run[Thing, Status]) -> Literal[Status.C]:
        calls.append((run.version, run.attempt))
        if len(calls) <= 2:
            raise RuntimeError("not yet")
        return Status.C

    options = Options(err_back_off=timedelta(milliseconds=5), pause_after_err_count=2)
    wf = builder.build(backend, default_options=options, pause_retry=None)
    async with wf.running():
        run_id = await wf.trigger("key")
        async with asyncio.timeout(20):
            while (await wf.get(run_id)).run_state is not RunState.PAUSED:
                await asyncio.sleep(0.01)
        history = await backend.record_store.history(run_id)
        await backend.event_streamer.send([wf._engine.transitions.event(version) for version in history])
        await wf.resume(run_id)
        run = await wf.wait_for("key", Status.C, timeout=PATIENCE)
        assert calls == [(2, 1), (3, 2), (5, 1)]
        assert (run.version, run.meta.run_state_reason) == (6, "")
        assert not (await verify(backend.record_store, wf)).violations


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
