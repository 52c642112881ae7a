# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for what the sweeper and the pause retry ask a record store: runs that owe work, pauses to take back."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import msgspec

from workflow.protocols import Note, Record, RunState, StalledQuery

from ._kit import Subject, cases_of
from ._values import MINUTE, NOW, SECOND, WORKFLOW, created, event_of, moved, put, settled

case = cases_of("records")

ASKED = StalledQuery(workflow_name=WORKFLOW, step_statuses=(1,), due_before=NOW + SECOND, now=NOW + MINUTE)


async def _stalled(subject: Subject, **fields: Any) -> list[str]:
    found = await subject.records.list_stalled(msgspec.structs.replace(ASKED, **fields))
    return [record.run_id for record in found]


async def _note(
    subject: Subject, run_id: str, *, skipped: bool | None = None, timers_armed: bool | None = None
) -> None:
    note = Note(run_id=run_id, version=1, skipped=skipped, timers_armed=timers_armed)
    (outcome,) = await settled(subject.records, note)
    assert outcome.ok, outcome


async def _swept(subject: Subject, record: Record, at: datetime) -> None:
    emit = Note(run_id=record.run_id, version=record.version, event=event_of(record), reemitted_at=at)
    (outcome,) = await settled(subject.records, emit)
    assert outcome.ok, outcome


@case("design 4.7: the sweeper")
async def a_run_whose_status_has_a_step_is_stalled_unless_skipped(subject: Subject) -> None:
    await put(subject.records, created("initiated"), created("skipped"), created("elsewhere", status=2))
    await put(subject.records, created("running", run_state=RunState.RUNNING))
    await _note(subject, "skipped", skipped=True)
    found = await subject.records.list_stalled(ASKED)
    assert {record.run_id for record in found} == {"initiated", "running"}
    lookup = await subject.records.lookup(["initiated", "running"])
    assert {record.run_id: record for record in found} == lookup, "whole records are given"
    assert set(await _stalled(subject, step_statuses=(1, 2))) == {"initiated", "running", "elsewhere"}
    await _note(subject, "skipped", skipped=False)
    assert set(await _stalled(subject)) == {"initiated", "running", "skipped"}


@case("design 4.7: the sweeper")
async def runs_that_are_paused_or_finished_owe_no_step_and_no_timers(subject: Subject) -> None:
    for state in RunState:
        if state.valid:
            await put(subject.records, created(f"{state}", run_state=state))
    wanted = {str(RunState.INITIATED), str(RunState.RUNNING)}
    assert set(await _stalled(subject)) == wanted
    assert set(await _stalled(subject, step_statuses=(), timer_statuses=(1,))) == wanted
    assert not await _stalled(subject, step_statuses=())


@case("design 4.7: the sweeper", "design 4.9: armed")
async def a_run_whose_timers_are_not_armed_is_stalled(subject: Subject) -> None:
    await put(subject.records, created("unarmed"), created("armed"), created("elsewhere", status=2))
    await _note(subject, "armed", timers_armed=True)
    # the note of the step says nothing about the timers, nor the other way round
    await _note(subject, "unarmed", skipped=True)
    assert await _stalled(subject, step_statuses=(), timer_statuses=(1,)) == ["unarmed"]
    assert await _stalled(subject) == ["armed"]
    assert set(await _stalled(subject, timer_statuses=(1,))) == {"unarmed", "armed"}


@case("design 4.7: the sweeper", "W-23")
async def a_requested_deletion_is_stalled_only_when_asked_for(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run", run_state=RunState.COMPLETED, status=9))
    await put(subject.records, moved(first, run_state=RunState.REQUESTED_DATA_DELETED, due_at=NOW))
    assert await _stalled(subject, deletions=True) == ["run"]
    assert not await _stalled(subject, step_statuses=(1, 9))
    assert not await _stalled(subject, deletions=True, due_before=NOW)


@case("contract: StalledQuery.known_statuses")
async def a_run_at_a_status_that_nobody_knows_any_more_is_stalled(subject: Subject) -> None:
    await put(subject.records, created("known", status=2), created("unknown", status=7))
    await put(subject.records, created("later", status=7, due_at=NOW + MINUTE))
    await put(subject.records, created("paused", status=7, run_state=RunState.PAUSED))
    await _note(subject, "unknown", skipped=True, timers_armed=True)
    assert not await _stalled(subject), "empty: all are known"
    assert await _stalled(subject, known_statuses=(1, 2)) == ["unknown"]
    assert await _stalled(subject, step_statuses=(), known_statuses=(7,)) == ["known"]


@case("design 4.7: the sweeper")
async def a_run_is_stalled_only_if_it_was_due_strictly_before(subject: Subject) -> None:
    await put(subject.records, created("run"))
    assert not await _stalled(subject, due_before=NOW)
    assert await _stalled(subject, due_before=NOW + timedelta(microseconds=1)) == ["run"]


@case("design 4.7: the sweeper", "contract: Record.due_at")
async def a_run_that_backs_off_is_not_stalled(subject: Subject) -> None:
    (first, _) = await put(subject.records, created("backs off"), created("starts later", due_at=NOW + MINUTE))
    assert await _stalled(subject) == ["backs off"]
    await put(subject.records, moved(first, due_at=NOW + 5 * MINUTE))
    assert not await _stalled(subject)
    both = await _stalled(subject, due_before=NOW + 9 * MINUTE, now=NOW + 9 * MINUTE)
    assert both == ["starts later", "backs off"]


@case("design 4.7: the sweeper")
async def the_run_that_was_due_longest_ago_comes_first(subject: Subject) -> None:
    for number in (3, 1, 4, 0, 2):
        await put(subject.records, created(f"run {number}", due_at=NOW - (5 - number) * MINUTE))
    (last,) = await put(subject.records, created("moved since", due_at=NOW - 9 * MINUTE))
    await put(subject.records, moved(last, due_at=NOW))
    assert await _stalled(subject) == [*(f"run {number}" for number in range(5)), "moved since"]
    assert await _stalled(subject, limit=2) == ["run 0", "run 1"]


@case("design 4.7: back-off of the sweeper")
async def a_run_that_was_swept_waits_as_long_again(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    await _swept(subject, record, NOW + MINUTE)
    assert not await _stalled(subject, now=NOW + 2 * MINUTE - timedelta(microseconds=1))
    assert await _stalled(subject, now=NOW + 2 * MINUTE) == ["run"]
    await _swept(subject, record, NOW + 2 * MINUTE)
    assert not await _stalled(subject, now=NOW + 3 * MINUTE)
    assert await _stalled(subject, now=NOW + 4 * MINUTE) == ["run"]
    (record,) = await put(subject.records, moved(record, due_at=NOW + 2 * MINUTE))
    at_once = {"due_before": NOW + 3 * MINUTE, "now": NOW + 2 * MINUTE}
    assert await _stalled(subject, **at_once) == ["run"], "a new version has not been swept"


@case("design 4.7: the sweeper")
async def swept_runs_do_not_take_the_places_of_those_behind_them(subject: Subject) -> None:
    for number in range(10):
        (record,) = await put(subject.records, created(f"swept {number}", due_at=NOW - MINUTE))
        await _swept(subject, record, NOW + MINUTE)
    await put(subject.records, created("waiting"))
    assert await _stalled(subject, limit=3, now=NOW + MINUTE) == ["waiting"]


@case("design 4.7: the sweeper")
async def stalled_runs_of_other_workflows_are_not_listed(subject: Subject) -> None:
    await put(subject.records, created("ours"), created("theirs", workflow_name="another workflow"))
    assert await _stalled(subject) == ["ours"]
    assert await _stalled(subject, workflow_name="another workflow") == ["theirs"]


@case("design 4.7: auto-resume", "W-37")
async def only_pauses_made_by_the_engine_are_listed_for_resuming(subject: Subject) -> None:
    paused = RunState.PAUSED
    for number in (2, 0, 1):
        at = NOW - (5 - number) * MINUTE
        await put(subject.records, created(f"run {number}", run_state=paused, auto_paused=True, updated_at=at))
    await put(subject.records, created("by a person", run_state=paused, updated_at=NOW - 9 * MINUTE))
    await put(subject.records, created("fresh", run_state=paused, auto_paused=True, updated_at=NOW))
    await put(subject.records, created("theirs", run_state=paused, auto_paused=True, workflow_name="another workflow"))
    (resumed,) = await put(subject.records, created("resumed", run_state=paused, auto_paused=True))
    await put(subject.records, moved(resumed, auto_paused=False))

    async def listed(until: datetime, limit: int = 10) -> list[str]:
        found = await subject.records.list_auto_paused(WORKFLOW, paused_until=until, limit=limit)
        return [record.run_id for record in found]

    before = NOW - timedelta(microseconds=1)
    assert await listed(before) == ["run 0", "run 1", "run 2"]
    assert await listed(before, limit=2) == ["run 0", "run 1"]
    assert await listed(NOW) == ["run 0", "run 1", "run 2", "fresh"], "paused at exactly that moment"
    assert await listed(NOW - 5 * MINUTE) == ["run 0"]
    assert await listed(NOW - 5 * MINUTE - timedelta(microseconds=1)) == []


@case("design 4.7: auto-resume", "W-37")
async def a_run_that_is_no_longer_paused_is_not_listed_for_resuming(subject: Subject) -> None:
    """One that cannot be resumed would fail the resumption of all others, again and again."""
    since = NOW - 9 * MINUTE
    made = [
        created(run_id, run_state=RunState.PAUSED, auto_paused=True, updated_at=since)
        for run_id in ("paused", "resumed", "still marked", "cancelled", "paused by a person")
    ]
    _, resumed, marked, cancelled, by_person = await put(subject.records, *made)
    await put(
        subject.records,
        moved(resumed, auto_paused=False),
        moved(marked, auto_paused=True),
        moved(cancelled, run_state=RunState.CANCELLED, auto_paused=True),
    )
    (goes_on,) = await put(subject.records, moved(by_person, auto_paused=False))
    await put(subject.records, moved(goes_on, run_state=RunState.PAUSED, auto_paused=False))
    found = await subject.records.list_auto_paused(WORKFLOW, paused_until=NOW, limit=10)
    assert [record.run_id for record in found] == ["paused"]


@case("design 4.7: the sweeper")
async def sweeping_goes_on_while_runs_are_moved(subject: Subject) -> None:
    runs = await put(subject.records, *(created(f"run {number}") for number in range(20)))

    async def move_all() -> None:
        for record in runs:
            await settled(subject.records, moved(record, due_at=NOW + MINUTE))

    moving = asyncio.ensure_future(move_all())
    while not moving.done():
        found = await _stalled(subject, limit=100)
        assert len(found) == len(set(found))
        await asyncio.sleep(0)
    await moving
    assert not await _stalled(subject, limit=100)
