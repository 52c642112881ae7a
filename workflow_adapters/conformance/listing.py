# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for `RecordStore.list`: filters, order and pages."""

from collections.abc import Sequence
from typing import Any

from workflow.protocols import DEFAULT_LIMIT, Order, Record, RecordQuery, RunState

from ._kit import Subject, cases_of
from ._values import MINUTE, NOW, SECOND, WORKFLOW, created, moved, put, settled

case = cases_of("records")

OTHER = "another workflow"


async def _fill(subject: Subject, count: int) -> list[str]:
    """Create so many runs, every second one of the other workflow, in calls of 100; their ids in order."""
    moves = [created(f"run {number:04}", workflow_name=OTHER if number % 2 else WORKFLOW) for number in range(count)]
    for start in range(0, count, 100):
        await settled(subject.records, *moves[start : start + 100])
    return [move.run_id for move in moves]


def _ids(records: Sequence[Record]) -> list[str]:
    return [record.run_id for record in records]


@case("R-SUITE-RS-6", "R-RSTORE-4", "W-28")
async def a_thousand_records_are_paged_through_in_both_orders(subject: Subject) -> None:
    # all of one moment: only the store's own numbers tell their order
    ids = await _fill(subject, 1_000)
    for order, wanted in ((Order.ASCENDING, ids), (Order.DESCENDING, ids[::-1])):
        for offset, limit, count in ((0, 53, 53), (53, 100, 100), (153, 847, 847), (950, 1_000, 50), (1_000, 10, 0)):
            page = await subject.records.list(RecordQuery(order=order, offset=offset, limit=limit))
            assert len(page) == count, f"offset {offset}, limit {limit}: {len(page)}"
            assert _ids(page) == wanted[offset : offset + limit], f"{order}, offset {offset}, limit {limit}"


@case("R-RSTORE-4")
async def a_listing_without_a_limit_has_twenty_five_records(subject: Subject) -> None:
    await _fill(subject, 60)
    assert DEFAULT_LIMIT == 25
    assert len(await subject.records.list(RecordQuery())) == DEFAULT_LIMIT


@case("R-SUITE-RS-7")
async def a_listing_of_one_workflow_has_only_its_records(subject: Subject) -> None:
    ids = await _fill(subject, 200)
    found = await subject.records.list(RecordQuery(workflow_name=WORKFLOW, limit=1_000))
    assert {record.workflow_name for record in found} == {WORKFLOW}
    assert _ids(found) == ids[::2]
    assert not await subject.records.list(RecordQuery(workflow_name="nobody's workflow"))


@case("R-SUITE-RS-8")
async def a_listing_by_foreign_ids_has_every_run_of_each(subject: Subject) -> None:
    for number in range(20):
        for foreign_id in ("a", "b, with a comma", "c"):
            done = created(f"{foreign_id} {number}", foreign_id, run_state=RunState.COMPLETED)
            await settled(subject.records, done)
    for foreign_ids, count in ((("a",), 20), (("b, with a comma",), 20), (("a", "c"), 40), (("unknown",), 0)):
        found = await subject.records.list(RecordQuery(foreign_ids=foreign_ids, limit=100))
        assert len(found) == count, foreign_ids
        assert {record.foreign_id for record in found} <= set(foreign_ids)


@case("R-SUITE-RS-9")
async def a_listing_by_run_states_has_exactly_those(subject: Subject) -> None:
    counts = {
        RunState.INITIATED: 10,
        RunState.RUNNING: 100,
        RunState.COMPLETED: 20,
        RunState.PAUSED: 3,
        RunState.CANCELLED: 1,
        RunState.DATA_DELETED: 15,
    }
    for state, count in counts.items():
        await settled(subject.records, *[created(f"{state} {n}", run_state=state) for n in range(count)])
    for state, count in counts.items():
        found = await subject.records.list(RecordQuery(run_states=(state,), limit=1_000))
        assert {record.run_state for record in found} == {state}
        assert len(found) == count, state
    both = RecordQuery(run_states=(RunState.RUNNING, RunState.PAUSED), limit=1_000)
    assert len(await subject.records.list(both)) == 103


@case("R-SUITE-RS-10")
async def a_listing_by_statuses_looks_at_the_present_one(subject: Subject) -> None:
    for status, count in ((1, 10), (2, 100), (3, 20)):
        await settled(subject.records, *[created(f"{status}/{n}", status=status) for n in range(count)])
    for status, count in ((1, 10), (2, 100), (3, 20), (4, 0)):
        assert len(await subject.records.list(RecordQuery(statuses=(status,), limit=1_000))) == count
    moving = (await subject.records.list(RecordQuery(statuses=(1,), limit=1)))[0]
    await put(subject.records, moved(moving, status=4))
    assert _ids(await subject.records.list(RecordQuery(statuses=(4,)))) == [moving.run_id]
    assert len(await subject.records.list(RecordQuery(statuses=(1, 4), limit=1_000))) == 10
    assert len(await subject.records.list(RecordQuery(statuses=(1,), limit=1_000))) == 9


@case("R-SUITE-RS-11", "R-RSTORE-8")
async def a_listing_by_creation_is_strictly_after_and_strictly_before(subject: Subject) -> None:
    await _fill(subject, 100)
    questions = (
        (NOW - MINUTE, NOW + MINUTE, 100),
        (NOW - MINUTE, None, 100),
        (None, NOW + MINUTE, 100),
        (NOW + MINUTE, None, 0),
        (None, NOW - MINUTE, 0),
        (NOW, None, 0),
        (None, NOW, 0),
    )
    for after, before, count in questions:
        query = RecordQuery(created_after=after, created_before=before, limit=1_000)
        assert len(await subject.records.list(query)) == count, f"after {after}, before {before}"


@case("R-RSTORE-4")
async def the_conditions_of_a_listing_are_joined_by_and(subject: Subject) -> None:
    for number in range(8):
        wanted: dict[str, Any] = {
            "workflow_name": WORKFLOW if number & 1 else OTHER,
            "status": 2 if number & 2 else 3,
            "run_state": RunState.RUNNING if number & 4 else RunState.PAUSED,
        }
        await settled(subject.records, created(f"run {number}", **wanted))
    query = RecordQuery(
        workflow_name=WORKFLOW,
        statuses=(2, 9),
        run_states=(RunState.RUNNING,),
        foreign_ids=("foreign of run 7", "foreign of run 1"),
        created_after=NOW - SECOND,
        created_before=NOW + SECOND,
    )
    assert _ids(await subject.records.list(query)) == ["run 7"]


@case("R-RSTORE-4", "W-28")
async def the_offset_counts_filtered_records_in_the_asked_order(subject: Subject) -> None:
    ids = await _fill(subject, 40)
    query = RecordQuery(workflow_name=OTHER, order=Order.DESCENDING, offset=5, limit=5)
    assert _ids(await subject.records.list(query)) == ids[1::2][::-1][5:10]


@case("R-RSTORE-4", "W-17")
async def a_record_that_moves_keeps_its_place_in_a_listing(subject: Subject) -> None:
    records = await put(subject.records, *(created(f"run {number}") for number in range(5)))
    await put(subject.records, moved(records[0]), moved(records[3], run_state=RunState.COMPLETED))
    assert _ids(await subject.records.list(RecordQuery())) == [record.run_id for record in records]
