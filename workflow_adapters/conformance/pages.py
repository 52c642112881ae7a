# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for the pages of every listing: runs, dead letters, held callbacks and timers.

A listing that is read page by page has each item once, also while rows come and go between two pages.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from workflow.protocols import (
    DeadLetter,
    DeadLetterQuery,
    HeldCallback,
    Order,
    Page,
    Record,
    RecordQuery,
    RunState,
    TimeoutQuery,
    TimeoutRecord,
)

from ._kit import Capability, Subject, cases_of
from ._paging import Listing, is_paged, read_pages, refuses_cursors
from ._values import MINUTE, NOW, SECOND, WORKFLOW, created, moved, one, put, settled, timer

case = cases_of("records")
timeouts_case = cases_of("timeouts")

HAS = [Capability.TIMEOUTS]
OTHER = "another workflow"

Q = TypeVar("Q", RecordQuery, DeadLetterQuery, TimeoutQuery)
T = TypeVar("T")


def _by_query(ask: Callable[[Q], Awaitable[Page[T]]], query: Q) -> Listing[T]:
    """The listing that this query asks for."""
    return lambda cursor, limit: ask(msgspec.structs.replace(query, cursor=cursor, limit=limit))


def _runs(subject: Subject, query: RecordQuery) -> Listing[Record]:
    return _by_query(subject.records.list, query)


def _letters(subject: Subject, run_id: str | None = None) -> Listing[DeadLetter]:
    return _by_query(subject.records.list_dead_letters, DeadLetterQuery(workflow_name=WORKFLOW, run_id=run_id))


def _timers(subject: Subject, query: TimeoutQuery) -> Listing[TimeoutRecord]:
    return _by_query(subject.timeouts.list, query)


def _held(subject: Subject, foreign_id: str | None = None) -> Listing[HeldCallback]:
    return lambda cursor, limit: subject.records.list_held(WORKFLOW, foreign_id=foreign_id, cursor=cursor, limit=limit)


def _run_id(record: Record) -> str:
    return record.run_id


def _id(item: HeldCallback | TimeoutRecord) -> str:
    return item.id


async def _fill(subject: Subject, count: int) -> list[Record]:
    """So many runs of two workflows in the order of a listing: several share a moment, the store's number decides."""
    changes = [
        created(
            f"run {number:03}",
            workflow_name=OTHER if number % 3 == 0 else WORKFLOW,
            created_at=NOW + (number // 5) * SECOND,
            status=number % 4,
        )
        for number in range(count)
    ]
    await settled(subject.records, *changes)
    return [change.record for change in changes]


@case("contract: Page", "R-RSTORE-4")
async def runs_are_paged_in_both_orders_each_once(subject: Subject) -> None:
    records = await _fill(subject, 40)
    for order in Order:
        wanted = [record.run_id for record in records][:: -1 if order is Order.DESCENDING else 1]
        await is_paged(_runs(subject, RecordQuery(order=order)), wanted, _run_id)
        ours = [record.run_id for record in records if record.workflow_name == WORKFLOW]
        query = RecordQuery(workflow_name=WORKFLOW, order=order)
        await is_paged(_runs(subject, query), ours[:: -1 if order is Order.DESCENDING else 1], _run_id)
    await is_paged(_runs(subject, RecordQuery(workflow_name="unknown")), [], _run_id)


@case("contract: Page", "contract: list")
async def runs_are_listed_by_creation_and_then_by_the_number_of_the_store(subject: Subject) -> None:
    seconds = (5, 1, 3, 1, 5, 0, 3, 3)
    changes = [created(f"{9 - n}", created_at=NOW + at * SECOND) for n, at in enumerate(seconds)]
    for change in changes:
        await put(subject.records, change)
    wanted = [changes[place].run_id for place in sorted(range(len(seconds)), key=lambda place: (seconds[place], place))]
    await is_paged(_runs(subject, RecordQuery()), wanted, _run_id)
    await is_paged(_runs(subject, RecordQuery(order=Order.DESCENDING)), wanted[::-1], _run_id)


@case("contract: Page", "contract: list")
async def the_pages_of_filtered_runs_are_full(subject: Subject) -> None:
    records = await _fill(subject, 60)
    queries = (
        RecordQuery(workflow_name=WORKFLOW, statuses=(1, 3)),
        RecordQuery(workflow_name=WORKFLOW, run_states=(RunState.INITIATED,)),
        RecordQuery(workflow_name=WORKFLOW, foreign_id_prefix="foreign of run 0"),
    )
    for query in queries:
        wanted = [
            record.run_id
            for record in records
            if record.workflow_name == WORKFLOW and (not query.statuses or record.status in query.statuses)
        ]
        await is_paged(_runs(subject, query), wanted, _run_id)


@case("contract: Page", "contract: list")
async def an_offset_is_counted_from_the_cursor(subject: Subject) -> None:
    ids = [record.run_id for record in await _fill(subject, 30)]
    for order in Order:
        wanted = ids[:: -1 if order is Order.DESCENDING else 1]
        first = await subject.records.list(RecordQuery(order=order, offset=3, limit=5))
        assert [record.run_id for record in first] == wanted[3:8]
        second = await subject.records.list(RecordQuery(order=order, cursor=first.next, offset=2, limit=5))
        assert [record.run_id for record in second] == wanted[10:15]
        third = await subject.records.list(RecordQuery(order=order, cursor=second.next, offset=10, limit=50))
        assert [record.run_id for record in third] == wanted[25:]
        assert third.next is None
        beyond = await subject.records.list(RecordQuery(order=order, cursor=second.next, offset=40, limit=5))
        assert not beyond
        assert beyond.next is None


@case("contract: Page", "contract: list")
async def runs_that_come_and_move_between_two_pages_shift_nothing(subject: Subject) -> None:
    for order in Order:
        before = [created(f"{order} {n:02}", created_at=NOW + (n // 3) * MINUTE, status=6) for n in range(24)]
        await settled(subject.records, *before)
        left: set[str] = set()

        async def change(page: int, order: Order = order, left: set[str] = left) -> None:
            """Some runs come before, amid and after the place of the cursor; one stops matching, one only moves."""
            at = [NOW - MINUTE, NOW + page * MINUTE, NOW + 99 * MINUTE]
            fresh = [created(f"{order} new {page} {n}", created_at=moment, status=6) for n, moment in enumerate(at)]
            await settled(subject.records, *fresh)
            gone, going = f"{order} {page:02}", f"{order} {23 - page:02}"
            left.add(gone)
            await put(subject.records, moved(await one(subject.records, gone), status=7))
            await put(subject.records, moved(await one(subject.records, going)))

        query = RecordQuery(statuses=(6,), order=order)
        found = [record.run_id for record in await read_pages(_runs(subject, query), 4, between=change)]
        assert len(found) == len(set(found)), f"{order}: a run is listed twice: {found}"
        stayed = {record.run_id for record in before} - left
        assert stayed <= set(found), f"{order}: left out: {sorted(stayed - set(found))}"
        await settled(subject.records, *[moved(r, status=8) for r in await read_pages(_runs(subject, query), 100)])


@case("contract: Page", "contract: list")
async def a_cursor_of_runs_goes_on_after_its_run_was_changed(subject: Subject) -> None:
    records = await _fill(subject, 12)
    first = await subject.records.list(RecordQuery(limit=4))
    last = await one(subject.records, first[-1].run_id)
    await put(subject.records, moved(last, status=9, run_state=RunState.CANCELLED))
    second = await subject.records.list(RecordQuery(cursor=first.next, limit=4))
    assert [record.run_id for record in second] == [record.run_id for record in records[4:8]]


@case("contract: Page", "contract: list", needs=[Capability.SECOND_INSTANCE])
async def a_cursor_is_good_in_another_process(subject: Subject) -> None:
    records = await _fill(subject, 12)
    first = await subject.records.list(RecordQuery(limit=4))
    there = (await subject.another()).record_store
    second = await there.list(RecordQuery(cursor=first.next, limit=4))
    assert [record.run_id for record in second] == [record.run_id for record in records[4:8]]


@case("contract: Page", "contract: list")
async def a_foreign_cursor_of_runs_is_an_error_that_shows_it(subject: Subject) -> None:
    await _fill(subject, 5)
    await _fill_letters(subject, 3)
    page = await _letters(subject)(None, 1)
    assert page.next is not None
    await refuses_cursors(_runs(subject, RecordQuery()), page.next)


async def _fill_letters(subject: Subject, count: int) -> None:
    letters = [
        DeadLetter(
            workflow_name=WORKFLOW,
            source="outbox",
            run_id=f"run {number % 3}",
            data=b"data",
            reason=f"letter {number:02}",
            created_at=NOW + number * SECOND,
        )
        for number in range(count)
    ]
    await subject.records.add_dead_letters(letters)
    theirs = [msgspec.structs.replace(letter, workflow_name=OTHER) for letter in letters[:5]]
    await subject.records.add_dead_letters(theirs)


@case("contract: Page", "contract: list_dead_letters")
async def dead_letters_are_paged_oldest_first_each_once(subject: Subject) -> None:
    await _fill_letters(subject, 20)
    reasons = [f"letter {number:02}" for number in range(20)]
    await is_paged(_letters(subject), reasons, lambda letter: letter.reason)
    await is_paged(_letters(subject, "run 1"), reasons[1::3], lambda letter: letter.reason)
    await is_paged(_letters(subject, "unknown"), [], lambda letter: letter.reason)


@case("contract: Page", "contract: list_dead_letters")
async def dead_letters_that_come_and_go_between_two_pages_shift_nothing(subject: Subject) -> None:
    await _fill_letters(subject, 20)
    ids = [letter.id for letter in await read_pages(_letters(subject), 100)]
    removed: set[str] = set()

    async def change(page: int) -> None:
        if page < 5:
            # one that was listed already, the one of the cursor, and one that would come next
            gone = {ids[page], ids[3 * (page + 1) - 1], ids[-1 - page]}
            removed.update(gone)
            await subject.records.remove_dead_letters(sorted(gone))
            await _fill_letters(subject, 1)

    found = [letter.id for letter in await read_pages(_letters(subject), 3, between=change)]
    assert len(found) == len(set(found)), "a dead letter is listed twice"
    assert set(ids) - removed <= set(found), f"left out: {set(ids) - removed - set(found)}"


@case("contract: Page", "contract: list_dead_letters")
async def a_foreign_cursor_of_dead_letters_is_an_error_that_shows_it(subject: Subject) -> None:
    await _fill(subject, 5)
    page = await subject.records.list(RecordQuery(limit=2))
    assert page.next is not None
    await refuses_cursors(_letters(subject), page.next)


async def _hold(subject: Subject, *numbers: int, at: int | None = None) -> None:
    for number in numbers:
        callback = HeldCallback(
            id=f"callback {number:02}",
            workflow_name=WORKFLOW,
            foreign_id=f"foreign {number % 3}",
            status=number % 2,
            payload=b"payload",
            created_at=NOW + (number // 2 if at is None else at) * SECOND,
            expires_at=NOW + (50 - number) * MINUTE,
        )
        await subject.records.hold(callback)
        if at is None and number < 5:
            await subject.records.hold(msgspec.structs.replace(callback, workflow_name=OTHER))


@case("contract: Page", "contract: list_held")
async def held_callbacks_are_paged_oldest_first_each_once(subject: Subject) -> None:
    await _hold(subject, *range(20))
    ids = [f"callback {number:02}" for number in range(20)]
    await is_paged(_held(subject), ids, _id)
    await is_paged(_held(subject, "foreign 1"), ids[1::3], _id)
    await is_paged(_held(subject, "unknown"), [], _id)


@case("contract: Page", "contract: list_held")
async def held_callbacks_that_come_and_go_between_two_pages_shift_nothing(subject: Subject) -> None:
    await _hold(subject, *range(20))
    callbacks = await read_pages(_held(subject), 100)
    gone: set[str] = set()

    async def change(page: int) -> None:
        if page < 5:
            released = [callbacks[page], callbacks[3 * (page + 1) - 1], callbacks[-1 - page]]
            gone.update(map(_id, released))
            await subject.records.release(released)
            await _hold(subject, 30 + page, at=-9)
            await _hold(subject, 40 + page, at=99)

    found = [callback.id for callback in await read_pages(_held(subject), 3, between=change)]
    assert len(found) == len(set(found)), f"a callback is listed twice: {found}"
    stayed = set(map(_id, callbacks)) - gone
    assert stayed <= set(found), f"left out: {sorted(stayed - set(found))}"


@case("contract: Page", "contract: list_held")
async def a_foreign_cursor_of_held_callbacks_is_an_error_that_shows_it(subject: Subject) -> None:
    await _fill(subject, 5)
    page = await subject.records.list(RecordQuery(limit=2))
    assert page.next is not None
    await refuses_cursors(_held(subject), page.next)


def _made(count: int) -> list[TimeoutRecord]:
    """So many timers of two runs; pairs of them share a due time, then the id decides."""
    return [timer(f"run {n % 2}", n, due=(n // 4) * MINUTE, status=n % 3) for n in range(count)]


def _timer_order(timers: list[TimeoutRecord]) -> list[str]:
    return [found.id for found in sorted(timers, key=lambda found: (found.due_at, found.id))]


@timeouts_case("contract: Page", "contract: timers", needs=HAS)
async def timers_are_paged_by_due_time_and_id_each_once(subject: Subject) -> None:
    timers = _made(20)
    await subject.timeouts.create(timers[::-1])
    await subject.timeouts.create([timer("theirs", workflow_name=OTHER)])
    await is_paged(_timers(subject, TimeoutQuery(workflow_name=WORKFLOW)), _timer_order(timers), _id)
    query = TimeoutQuery(workflow_name=WORKFLOW, run_id="run 1", statuses=(0, 2))
    wanted = [found for found in timers if found.run_id == "run 1" and found.status != 1]
    await is_paged(_timers(subject, query), _timer_order(wanted), _id)
    await is_paged(_timers(subject, TimeoutQuery(workflow_name="unknown")), [], _id)


@timeouts_case("contract: Page", "contract: timers", needs=HAS)
async def timers_that_come_and_go_between_two_pages_shift_nothing(subject: Subject) -> None:
    timers = _made(24)
    await subject.timeouts.create(timers)
    ids = _timer_order(timers)
    gone: set[str] = set()

    async def change(page: int) -> None:
        if page < 5:
            # of those that were listed already, of the cursor, and of those that would come next
            removed, done = [ids[page], ids[3 * (page + 1) - 1]], [ids[-1 - page]]
            gone.update(removed, done)
            await subject.timeouts.cancel(removed)
            await subject.timeouts.complete(done)
            fresh = [timer(f"new {page}", 90 + n, due=(n - 1) * 3 * MINUTE) for n in range(3)]
            await subject.timeouts.create(fresh)

    query = TimeoutQuery(workflow_name=WORKFLOW)
    found = [waiting.id for waiting in await read_pages(_timers(subject, query), 3, between=change)]
    assert len(found) == len(set(found)), f"a timer is listed twice: {found}"
    assert set(ids) - gone <= set(found), f"left out: {sorted(set(ids) - gone - set(found))}"


@timeouts_case("contract: Page", "contract: timers", needs=HAS)
async def a_foreign_cursor_of_timers_is_an_error_that_shows_it(subject: Subject) -> None:
    await subject.timeouts.create(_made(4))
    await _fill(subject, 5)
    page = await subject.records.list(RecordQuery(limit=2))
    assert page.next is not None
    await refuses_cursors(_timers(subject, TimeoutQuery(workflow_name=WORKFLOW)), page.next)
