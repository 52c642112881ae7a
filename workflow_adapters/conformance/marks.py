# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for what `RecordStore.store` writes beside moves: marks, emitted events, erasure, and what a move clears."""

from datetime import datetime

import msgspec

from workflow.protocols import APPLIED, Change, DeadLetter, Meta, Note, Record, RunState, Verdict

from ._kit import Subject, cases_of
from ._values import MINUTE, NOW, SECOND, WORKFLOW, created, event_of, letters, marked, moved, one, put

case = cases_of("records")


def _notes(record: Record) -> tuple[bool, bool, str, datetime | None]:
    marks = record.marks
    return marks.skipped, marks.timers_armed, marks.claimed_by, marks.reemitted_at


async def _marked(subject: Subject, run_id: str = "run") -> Record:
    """A run with every note that a version can carry."""
    (first,) = await put(subject.records, created(run_id))
    (record,) = await put(subject.records, moved(first, status=2))
    notes: list[Change] = [
        Note(run_id=run_id, version=2, skipped=True, timers_armed=True, claimed_by="process"),
        Note(run_id=run_id, version=2, event=event_of(record), reemitted_at=NOW + MINUTE),
    ]
    for note in notes:
        assert list(await subject.records.store([note])) == [APPLIED]
    return await one(subject.records, run_id)


@case("design 5: mark")
async def a_mark_notes_only_what_it_names_and_makes_no_version(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    wanted = record
    for note in (
        Note(run_id="run", version=1, timers_armed=True),
        Note(run_id="run", version=1, claimed_by="process"),
        Note(run_id="run", version=1, skipped=True),
        Note(run_id="run", version=1, claimed_by=""),
        Note(run_id="run", version=1, skipped=False),
    ):
        assert list(await subject.records.store([note])) == [APPLIED]
        named = {name: getattr(note, name) for name in ("timers_armed", "claimed_by", "skipped")}
        given = {name: value for name, value in named.items() if value is not None}
        wanted = marked(wanted, **given)
        assert await one(subject.records, "run") == wanted
    assert len(await subject.records.history("run")) == 1
    assert len((await subject.records.list_outbox(WORKFLOW, now=NOW, limit=10)).events) == 1


@case("design 5: guarded by the expected version")
async def a_mark_of_another_version_is_a_conflict_and_notes_nothing(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run"))
    (second,) = await put(subject.records, moved(first))
    for version in (1, 3):
        (outcome,) = await subject.records.store([Note(run_id="run", version=version, skipped=True, timers_armed=True)])
        assert outcome.verdict is Verdict.CONFLICT, f"version {version} of 2: {outcome}"
        assert outcome.record == second
    (outcome,) = await subject.records.store([Note(run_id="nobody", version=1, skipped=True)])
    assert outcome.verdict is Verdict.CONFLICT, outcome
    assert outcome.record is None
    assert await one(subject.records, "run") == second


@case("design 5: emit")
async def an_emitted_event_joins_the_outbox_without_a_version(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    event = event_of(record, consumer="hook", attempt=4)
    emit = Note(run_id="run", version=1, event=event, reemitted_at=NOW + MINUTE)
    assert list(await subject.records.store([emit])) == [APPLIED]
    page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=10)
    assert [waiting.event for waiting in page.events] == [event_of(record), event]
    assert await one(subject.records, "run") == marked(record, reemitted_at=NOW + MINUTE)
    quiet = Note(run_id="run", version=1, event=event_of(record))
    assert list(await subject.records.store([quiet])) == [APPLIED]
    assert (await one(subject.records, "run")).marks.reemitted_at == NOW + MINUTE, "None leaves the note as it is"
    assert len(await subject.records.history("run")) == 1


@case("design 5: guarded by the expected version")
async def an_emit_of_another_version_is_a_conflict_and_sends_nothing(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run"))
    (second,) = await put(subject.records, moved(first))
    for version in (1, 3):
        emit = Note(run_id="run", version=version, event=event_of(first), reemitted_at=NOW)
        (outcome,) = await subject.records.store([emit])
        assert outcome.verdict is Verdict.CONFLICT, f"version {version} of 2: {outcome}"
        assert outcome.record == second
    (outcome,) = await subject.records.store([Note(run_id="nobody", version=1, event=event_of(first))])
    assert outcome.verdict is Verdict.CONFLICT, outcome
    assert len((await subject.records.list_outbox(WORKFLOW, now=NOW, limit=10)).events) == 2
    assert await one(subject.records, "run") == second


@case("design 5: a batch of all kinds")
async def moves_marks_and_emits_share_a_batch(subject: Subject) -> None:
    _, b, c, d = await put(subject.records, *(created(run_id) for run_id in "abcd"))
    batch: list[Change] = [
        Note(run_id="a", version=1, timers_armed=True),
        moved(b),
        Note(run_id="c", version=1, event=event_of(c), due_at=NOW + MINUTE),
        Note(run_id="d", version=2, skipped=True),
        created("e"),
        Note(run_id="nobody", version=1, skipped=True),
    ]
    verdicts = [outcome.verdict.name for outcome in await subject.records.store(batch)]
    assert verdicts == ["APPLIED", "APPLIED", "APPLIED", "CONFLICT", "APPLIED", "CONFLICT"]
    assert (await one(subject.records, "a")).marks.timers_armed
    assert (await one(subject.records, "b")).version == 2
    assert await one(subject.records, "d") == d
    page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=10)
    assert page.next_due == NOW + MINUTE


@case("design 5: a move clears the skip")
async def a_new_version_of_the_same_visit_clears_every_note_but_armed(subject: Subject) -> None:
    record = await _marked(subject)
    assert _notes(record) == (True, True, "process", NOW + MINUTE)
    # written from what was read, notes and all, as the engine does
    (after,) = await put(subject.records, moved(record))
    assert _notes(after) == (False, True, "", None)


@case("design 5: a new visit clears the timers' mark")
async def a_new_visit_clears_armed_too_also_of_the_same_status(subject: Subject) -> None:
    record = await _marked(subject)
    (after,) = await put(subject.records, moved(record, status=3))
    assert _notes(after) == (False, False, "", None)
    again = await _marked(subject, "again")
    (after,) = await put(subject.records, moved(again, visit=3, entered_at=NOW + SECOND))
    assert not after.marks.timers_armed, "a visit may be of the same status as the one before"


@case("design 5: the store keeps armed", "design 4.9: armed")
async def a_move_computed_before_the_timers_were_armed_keeps_them_armed(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run"))
    await subject.records.store([Note(run_id="run", version=1, timers_armed=True)])
    (after,) = await put(subject.records, moved(first))
    assert after.marks.timers_armed, "armed is kept by the store within a visit, whatever the writer had read"


@case("design 4.10: erasure", "W-23")
async def an_erasing_move_empties_history_and_dead_letters_of_its_run_only(subject: Subject) -> None:
    meta = Meta(run_state_reason="their name is in here", status_description="one")
    last: dict[str, Record] = {}
    for run_id in ("erased", "kept"):
        (first,) = await put(subject.records, created(run_id, object=b"secret", last_error="secret", meta=meta))
        (second,) = await put(subject.records, moved(first, object=b"secret", run_state=RunState.COMPLETED))
        (last[run_id],) = await put(subject.records, moved(second, run_state=RunState.REQUESTED_DATA_DELETED))
        letter = DeadLetter(
            workflow_name=WORKFLOW, source="outbox", run_id=run_id, data=b"secret", reason="why", created_at=NOW
        )
        await subject.records.add_dead_letters([letter])
    final = moved(last["erased"], run_state=RunState.DATA_DELETED, object=b"kept", last_error="", meta=Meta())
    assert list(await subject.records.store([msgspec.structs.replace(final, erase=True)])) == [APPLIED]
    history = await subject.records.history("erased")
    assert [row.object for row in history] == [b"", b"", b"", b"kept"]
    assert {row.last_error for row in history} == {""}
    assert {row.meta.run_state_reason for row in history} == {""}
    assert [(row.version, row.run_state) for row in history] == [
        (1, RunState.INITIATED),
        (2, RunState.COMPLETED),
        (3, RunState.REQUESTED_DATA_DELETED),
        (4, RunState.DATA_DELETED),
    ], "the audit of transitions stays"
    assert await one(subject.records, "erased") == final.record
    others = await subject.records.history("kept")
    assert {(row.object, row.last_error) for row in others[:2]} == {(b"secret", "secret")}
    kept = {letter.run_id: letter.data for letter in await letters(subject.records, WORKFLOW)}
    assert kept == {"erased": b"", "kept": b"secret"}


@case("design 4.10: erasure")
async def an_erasing_move_that_conflicts_erases_nothing(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run", object=b"secret"))
    await put(subject.records, moved(first, object=b"newer"))
    stale = msgspec.structs.replace(moved(first, object=b""), erase=True)
    (outcome,) = await subject.records.store([stale])
    assert outcome.verdict is Verdict.CONFLICT, outcome
    assert [row.object for row in await subject.records.history("run")] == [b"secret", b"newer"]
