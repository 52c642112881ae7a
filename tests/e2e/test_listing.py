"""Listing and counting runs, and reading their histories page by page."""

import asyncio
from datetime import timedelta
from typing import Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing, chain
from workflow import (
    Builder,
    Count,
    Options,
    Order,
    Page,
    RecordNotFound,
    Run,
    RunState,
    StatusCount,
)
from workflow.protocols import Backend
from workflow.testing import FakeClock, wait_for


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


async def test_pages_show_every_run_once_while_runs_come_and_go(backend: Backend) -> None:
    clock = FakeClock()
    wf = chain().build(backend, starting_point=Status.A, clock=clock)
    for order in Order:
        before = []
        for number in range(12):
            before.append(await wf.trigger(f"{order.name} {number}"))
            clock.advance(timedelta(seconds=number % 2))  # pairs of the same moment
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = await wf.list(foreign_id_prefix=f"{order.name} ", order=order, cursor=cursor, limit=5)
            assert isinstance(page, Page)
            assert 0 < len(page) <= 5
            seen += [run.run_id for run in page]
            if page.next is None:
                break
            cursor = page.next
            await wf.trigger(f"{order.name} late {len(seen)}")
            await wf.cancel(before[len(seen) - 1])
        assert len(set(seen)) == len(seen)
        old = [run_id for run_id in seen if run_id in before]
        assert old == (before if order is Order.ASCENDING else before[::-1])


async def test_a_page_that_holds_all_has_no_next(backend: Backend) -> None:
    wf = chain().build(backend, starting_point=Status.A)
    assert await wf.list() == []
    for number in range(3):
        await wf.trigger(f"key {number}")
    assert (await wf.list(limit=3)).next is None
    first = await wf.list(limit=2)
    rest = await wf.list(limit=2, cursor=first.next)
    assert (len(first), len(rest), rest.next) == (2, 1, None)
    assert [run.foreign_id for run in (*first, *rest)] == ["key 0", "key 1", "key 2"]


async def test_runs_are_counted_by_the_conditions_of_a_listing(backend: Backend) -> None:
    wf = chain().build(backend, starting_point=Status.A)
    ids = [await wf.trigger(f"{'left' if number % 2 else 'right'} {number}") for number in range(6)]
    await wf.pause(ids[0])
    assert await wf.count() == Count(6)
    assert await wf.count(foreign_id_prefix="left") == Count(3)
    assert await wf.count(run_states=[RunState.PAUSED], statuses=[Status.A]) == Count(1)
    assert await wf.count(statuses=[Status.C]) == Count(0)
    assert (await wf.count(cap=5), await wf.count(cap=6)) == (Count(5, capped=True), Count(6))


async def test_runs_are_counted_by_status(backend: Backend) -> None:
    """R-API-6: failing and paused are among the live ones; a status without runs is left out."""
    builder = Builder("counted", Thing, Status)

    @builder.step(Status.A, options=Options(err_back_off=timedelta(hours=1)))
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        if run.foreign_id == "fails":
            raise RuntimeError("always")
        return Status.B

    wf = builder.build(backend)
    assert await wf.counts() == {}
    paused = await wf.trigger("paused")
    await wf.pause(paused)
    async with wf.running():
        for key in ("well", "also well"):
            await wf.trigger(key)
            await wf.wait_for(key, Status.B, timeout=PATIENCE)
        await wf.trigger("fails")
        await wait_for(wf, "fails", lambda run: run.attempt == 2, timeout=PATIENCE)
    counts = await wf.counts()
    assert counts == {Status.A: StatusCount(live=2, failing=1, paused=1), Status.B: StatusCount(finished=2)}
    assert all(isinstance(status, Status) for status in counts)
    assert [run.foreign_id for run in await wf.list(failing=True)] == ["fails"]


async def test_runs_are_found_by_when_they_moved_last(backend: Backend) -> None:
    clock = FakeClock()
    wf = chain().build(backend, starting_point=Status.A, clock=clock)
    first, second = await wf.trigger("first"), await wf.trigger("second")
    moment = clock.now()
    clock.advance(timedelta(minutes=1))
    await wf.pause(first)
    assert [run.run_id for run in await wf.list(updated_after=moment)] == [first]
    assert [run.run_id for run in await wf.list(updated_before=clock.now())] == [second]


async def test_a_history_is_read_page_by_page_and_a_failed_attempt_shows_the_object_it_left(backend: Backend) -> None:
    builder = Builder("paged", Thing, Status)

    @builder.step(Status.A, options=Options(err_back_off=timedelta(0)))
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        run.object.text = "dropped"
        if run.attempt < 4:
            raise RuntimeError(f"failure {run.attempt}")
        run.object.count = 7
        run.object.text = "done"
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("key", Thing(text="given"))
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
    whole = [(run.version, run.object) for run in await wf.history(run_id)]
    assert whole == [*((version, Thing(text="given")) for version in (1, 2, 3, 4)), (5, Thing(7, "done"))]
    for limit in (1, 2, 3, 5, 9):
        paged: list[tuple[int, Thing]] = []
        while page := await wf.history(run_id, after=len(paged), limit=limit):
            assert len(page) <= limit
            paged += [(run.version, run.object) for run in page]
        assert paged == whole
    assert await wf.history(run_id, after=5) == []
    with pytest.raises(RecordNotFound):
        await wf.history("nobody", after=5)


async def test_a_reading_is_read_only(backend: Backend) -> None:
    wf = chain().build(backend, starting_point=Status.A)
    run = await wf.get(await wf.trigger("key"))
    for name in ("status", "attempt", "last_error", "version", "run_state", "meta", "run_id"):
        with pytest.raises(AttributeError):
            setattr(run, name, getattr(run, name))
    with pytest.raises(AttributeError):
        run.colour = "red"  # type: ignore[attr-defined]
    run.object = Thing(count=5)
    assert (await wf.get(run.run_id)).object == Thing()
