# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for the outbox of a record store: order, due times, deletion, undecodable rows and the wake-up."""

import asyncio
from datetime import timedelta

import msgspec

from workflow.protocols import Note, OutboxEvent, OutboxPage, RunState, Verdict

from ._kit import Capability, Subject, cases_of
from ._values import (
    END_OF_TIME,
    MINUTE,
    NOW,
    SECOND,
    WORKFLOW,
    created,
    event_of,
    letters,
    moved,
    put,
    settled,
    until,
)

case = cases_of("outbox")


async def _page(
    subject: Subject, *, now: timedelta = timedelta(0), limit: int = 100, name: str = WORKFLOW
) -> OutboxPage:
    return await subject.records.list_outbox(name, now=NOW + now, limit=limit)


def _runs(page: OutboxPage) -> list[str]:
    return [waiting.event.run_id for waiting in page.events]


@case("R-SUITE-RS-4", "R-OUTBOX-1", "R-OUTBOX-2")
async def every_version_leaves_its_event_in_the_outbox(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run"))
    second = moved(first, status=2, run_state=RunState.COMPLETED)
    addressed = msgspec.structs.replace(second.event, topic="a topic, é", consumer="hook", attempt=7)
    await put(subject.records, msgspec.structs.replace(second, event=addressed))
    page = await _page(subject)
    assert [waiting.event for waiting in page.events] == [event_of(first), addressed]
    assert all(waiting.id and waiting.due_at is None for waiting in page.events)
    assert len({waiting.id for waiting in page.events}) == 2
    assert page.next_due is None


@case("R-SUITE-RS-5", "R-RSTORE-6")
async def a_deleted_event_is_gone_and_may_be_deleted_again(subject: Subject) -> None:
    await put(subject.records, *(created(f"run {number}") for number in range(3)))
    events = (await _page(subject)).events
    await subject.records.delete_outbox([events[1].id])
    assert _runs(await _page(subject)) == ["run 0", "run 2"]
    await subject.records.delete_outbox([events[1].id, events[0].id])
    await subject.records.delete_outbox([])
    assert _runs(await _page(subject)) == ["run 2"]
    await subject.records.delete_outbox([waiting.id for waiting in events])
    assert await _page(subject) == OutboxPage()


@case("R-RSTORE-5", "W-30", "W-31")
async def immediate_events_come_in_the_order_they_were_committed(subject: Subject) -> None:
    # ids, foreign IDs and times all say otherwise
    names = [f"run {(number * 37) % 50:02}" for number in range(50)]
    for number, name in enumerate(names):
        await put(subject.records, created(name, updated_at=NOW - number * SECOND))
    assert _runs(await _page(subject)) == names
    assert _runs(await _page(subject, limit=7)) == names[:7]
    await subject.records.delete_outbox([waiting.id for waiting in (await _page(subject, limit=7)).events])
    assert _runs(await _page(subject, limit=7)) == names[7:14]


@case("contract: store", "W-30")
async def the_events_of_one_run_keep_the_order_of_its_versions(subject: Subject) -> None:
    batch = [created(f"run {number}") for number in range(20)]
    await settled(subject.records, *batch)
    for turn in range(5):
        batch = [moved(move.record) for move in (batch if turn % 2 else batch[::-1])]
        await settled(subject.records, *batch)
    versions: dict[str, list[int]] = {}
    for waiting in (await _page(subject, limit=1_000)).events:
        versions.setdefault(waiting.event.run_id, []).append(waiting.event.version)
    assert len(versions) == 20
    assert all(seen == [1, 2, 3, 4, 5, 6] for seen in versions.values()), versions


@case("R-OUTBOX-1", "contract: store")
async def a_conflict_in_a_batch_takes_no_event_of_the_others_with_it(subject: Subject) -> None:
    runs = await put(subject.records, *(created(f"run {number}") for number in range(3)))
    stale = moved(msgspec.structs.replace(runs[1], version=5))
    verdicts = [o.verdict for o in await subject.records.store([moved(runs[0]), stale, moved(runs[2])])]
    assert verdicts == [Verdict.APPLIED, Verdict.CONFLICT, Verdict.APPLIED]
    events = [(waiting.event.run_id, waiting.event.version) for waiting in (await _page(subject)).events]
    assert sorted(events) == [("run 0", 1), ("run 0", 2), ("run 1", 1), ("run 2", 1), ("run 2", 2)]


@case("contract: store", "W-30", needs=[Capability.SECOND_INSTANCE])
async def the_events_of_one_run_keep_their_order_across_processes(subject: Subject) -> None:
    there = (await subject.another()).record_store

    async def work(run_id: str) -> None:
        move = created(run_id)
        for turn in range(10):
            await settled(there if turn % 2 else subject.records, move)
            move = moved(move.record)

    await asyncio.gather(*(work(f"run {number}") for number in range(8)))
    versions: dict[str, list[int]] = {}
    for waiting in (await _page(subject, limit=1_000)).events:
        versions.setdefault(waiting.event.run_id, []).append(waiting.event.version)
    assert versions == {f"run {number}": list(range(1, 11)) for number in range(8)}


@case("R-RSTORE-5", "R-SUITE-GAP")
async def the_outbox_of_another_workflow_is_its_own(subject: Subject) -> None:
    await put(subject.records, created("ours"), created("theirs", workflow_name="another workflow"))
    due = NOW + MINUTE
    await put(subject.records, created("theirs later", workflow_name="another workflow", due_at=due))
    assert _runs(await _page(subject)) == ["ours"]
    assert (await _page(subject)).next_due is None
    assert _runs(await _page(subject, name="another workflow")) == ["theirs"]
    assert await _page(subject, name="nobody's workflow") == OutboxPage()


@case("contract: moments")
async def a_run_due_at_the_end_of_time_is_read_back_and_its_event_waits(subject: Subject) -> None:
    (record,) = await put(subject.records, created("never", due_at=END_OF_TIME))
    assert await subject.records.lookup(["never"]) == {"never": record}
    assert [version.due_at for version in await subject.records.history("never")] == [END_OF_TIME]
    assert await _page(subject, now=10_000 * MINUTE) == OutboxPage(next_due=END_OF_TIME)


@case("design 4.6: due times")
async def a_delayed_event_is_not_listed_before_it_is_due(subject: Subject) -> None:
    await put(subject.records, created("late", due_at=NOW + 2 * MINUTE), created("later", due_at=NOW + 3 * MINUTE))
    page = await _page(subject)
    assert page == OutboxPage(next_due=NOW + 2 * MINUTE)
    assert not (await _page(subject, now=2 * MINUTE - timedelta(microseconds=1))).events
    page = await _page(subject, now=2 * MINUTE)
    assert _runs(page) == ["late"], "due at exactly that moment"
    assert page.events[0].due_at == NOW + 2 * MINUTE
    assert page.next_due == NOW + 3 * MINUTE
    page = await _page(subject, now=4 * MINUTE)
    assert sorted(_runs(page)) == ["late", "later"]
    assert page.next_due is None
    await subject.records.delete_outbox([waiting.id for waiting in page.events])
    assert await _page(subject, now=4 * MINUTE) == OutboxPage()


@case("design 4.6: due times")
async def an_emitted_event_may_be_delayed(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    await subject.records.delete_outbox([waiting.id for waiting in (await _page(subject)).events])
    await settled(subject.records, Note(run_id="run", version=1, event=event_of(record), due_at=NOW + MINUTE))
    assert await _page(subject) == OutboxPage(next_due=NOW + MINUTE)
    assert _runs(await _page(subject, now=MINUTE)) == ["run"]


@case("design 4.6: neither starves the other", "W-30")
async def neither_immediate_nor_delayed_events_starve(subject: Subject) -> None:
    immediate = [created(f"immediate {number}") for number in range(60)]
    delayed = [created(f"delayed {number}", due_at=NOW - number * SECOND) for number in range(60)]
    await settled(subject.records, *delayed, *immediate)
    seen: list[OutboxEvent] = []
    for _ in range(4):
        page = await _page(subject, limit=10)
        assert len(page.events) == 10
        kinds = {waiting.due_at is None for waiting in page.events}
        assert kinds == {True, False}, "a page that is short of room has events of both kinds"
        seen.extend(page.events)
        await subject.records.delete_outbox([waiting.id for waiting in page.events])
    early = [waiting.event.run_id for waiting in seen if waiting.due_at is None]
    assert early == [move.run_id for move in immediate[: len(early)]]


@case("design 4.6: due times")
async def delayed_events_come_by_their_due_time(subject: Subject) -> None:
    for number in (3, 0, 4, 1, 2):
        await put(subject.records, created(f"run {number}", due_at=NOW + number * SECOND))
    assert _runs(await _page(subject, now=MINUTE)) == [f"run {number}" for number in range(5)]
    assert _runs(await _page(subject, now=2 * SECOND)) == ["run 0", "run 1", "run 2"]


@case("design 5: undecodable rows", "W-8", needs=[Capability.SPOILED_OUTBOX])
async def an_undecodable_row_becomes_a_dead_letter_and_blocks_nothing(subject: Subject) -> None:
    await put(subject.records, created("before"), created("spoiled"), created("after"))
    bad = (await _page(subject)).events[1]
    data = await subject.factory.spoil_outbox(subject.backend, bad.id)
    page = await _page(subject)
    if len(page.events) < 2:  # a page may be short by what it buried
        page = await _page(subject)
    assert _runs(page) == ["before", "after"]
    (letter,) = await letters(subject.records, WORKFLOW)
    assert (letter.workflow_name, letter.source, letter.data) == (WORKFLOW, "outbox", data)
    assert letter.reason, "for a person"
    assert _runs(await _page(subject)) == ["before", "after"]
    assert len(await letters(subject.records, WORKFLOW)) == 1, "moved once"


@case("design 5: undecodable rows", "W-8", needs=[Capability.SPOILED_OUTBOX])
async def a_page_full_of_undecodable_rows_does_not_hide_the_rest(subject: Subject) -> None:
    await put(subject.records, *(created(f"spoiled {number}") for number in range(6)), created("good"))
    for waiting in (await _page(subject, limit=6)).events:
        await subject.factory.spoil_outbox(subject.backend, waiting.id)

    async def found() -> bool:
        return _runs(await _page(subject, limit=3)) == ["good"]

    await until(found)
    assert len(await letters(subject.records, WORKFLOW)) == 6
