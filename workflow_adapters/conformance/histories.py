# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for histories: read in pages, asked about, with the cause of every version; and for what erasure leaves."""

from typing import Any

import msgspec

from workflow.protocols import (
    APPLIED,
    DeadLetter,
    DeadLetterQuery,
    HeldCallback,
    Meta,
    NewVersion,
    Note,
    Record,
    RecordQuery,
    RunState,
    Version,
    VersionCause,
)

from ._kit import Capability, Subject, cases_of
from ._values import MINUTE, NOW, WORKFLOW, created, moved, one, put, settled

case = cases_of("records")


def _fields(version: Version) -> dict[str, object]:
    """The fields of a version, by name: a record is compared without its marks."""
    return {name: getattr(version, name) for name in Version.__struct_fields__}


async def _life(subject: Subject, count: int, run_id: str = "run") -> list[Record]:
    """A run with so many versions, every third of them a failed attempt without its object in the history."""
    (record,) = await put(subject.records, created(run_id))
    records = [record]
    while len(records) < count:
        move = moved(record, status=1 + len(records) % 3)
        if len(records) % 3 == 2:
            move = msgspec.structs.replace(moved(record, attempt=2, last_error="text"), keep_object=False)
        (record,) = await put(subject.records, move)
        records.append(record if move.keep_object else msgspec.structs.replace(record, object=b""))
    return records


@case("contract: history")
async def a_history_is_read_in_pages_from_any_version_on(subject: Subject) -> None:
    records = [_fields(record) for record in await _life(subject, 11)]
    await _life(subject, 4, "other")
    for after in (0, 1, 2, 3, 5, 10, 11, 12, 1_000):
        assert [_fields(row) for row in await subject.records.history("run", after=after)] == records[after:]
        for limit in (1, 2, 3, 10, 11, 12):
            page = await subject.records.history("run", after=after, limit=limit)
            assert [_fields(row) for row in page] == records[after : after + limit], f"after {after}, limit {limit}"
    assert not await subject.records.history("unknown", after=0, limit=5)


@case("contract: history", "contract: Marks")
async def a_history_does_not_change_with_the_marks(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run"))
    before = [_fields(row) for row in await subject.records.history("run")]
    marks = Note(
        run_id="run", version=1, skipped=True, timers_armed=True, claimed_by="process", reemitted_at=NOW + MINUTE
    )
    assert list(await settled(subject.records, marks)) == [APPLIED]
    assert [_fields(row) for row in await subject.records.history("run")] == before
    await put(subject.records, moved(await one(subject.records, "run")))
    assert [_fields(row) for row in await subject.records.history("run", limit=1)] == before == [_fields(first)]


@case("contract: history", "contract: VersionCause")
async def cause_actor_and_reason_of_every_version_are_kept(subject: Subject) -> None:
    wanted: list[tuple[VersionCause, str, str]] = []
    record: Record | None = None
    for number, cause in enumerate(VersionCause):
        actor, reason = ("", "") if number % 3 == 0 else (f"é actor {number}", f"reason {number}\n" * (1 + 99 * number))
        meta = Meta(
            run_state_reason=f"state {number}" if number % 2 else "",
            status_description="one",
            trace_origin="kit.py:2",
            trace_context={"traceparent": f"00-{number}"},
            cause=cause,
            actor=actor,
            reason=reason,
        )
        change = created("run", meta=meta) if record is None else moved(record, meta=meta)
        (record,) = await put(subject.records, change)
        assert record.meta == meta, f"cause {cause!r}"
        wanted.append((cause, actor, reason))
    history = await subject.records.history("run")
    assert [(row.meta.cause, row.meta.actor, row.meta.reason) for row in history] == wanted
    assert [row.meta.run_state_reason for row in history] == [f"state {n}" if n % 2 else "" for n in range(len(wanted))]
    assert all(isinstance(row.meta.cause, VersionCause) for row in history)
    latest = await subject.records.latest(WORKFLOW, "foreign of run")
    (listed,) = await subject.records.list(RecordQuery(workflow_name=WORKFLOW))
    assert record == latest == listed


@case("contract: first_version_at", "design 4.13: passed")
async def the_first_version_at_a_status_is_looked_for_from_any_version_on(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    statuses = [1, 5, 1, 1, 5, 9, 5]
    for status in statuses[1:]:
        (record,) = await put(subject.records, moved(record, status=status))
    await put(subject.records, created("other", status=7))
    for since in range(1, 10):
        for status in (1, 5, 9, 7):
            wanted = next((n for n, at in enumerate(statuses, 1) if n >= since and at == status), None)
            found = await subject.records.first_version_at("run", status, since=since)
            assert found == wanted, f"status {status} since version {since}: {found}"
    assert await subject.records.first_version_at("run", 5) == 2
    assert await subject.records.first_version_at("unknown", 1) is None


PERSONAL = "their name"


async def _secretive(subject: Subject, run_id: str) -> Record:
    """A run with personal data in every place that the ports offer; its deletion was asked for."""
    meta = Meta(
        run_state_reason=f"state: {PERSONAL}",
        status_description="one",
        cause=VersionCause.STEP,
        reason=f"why: {PERSONAL}",
    )
    data: dict[str, Any] = {"object": PERSONAL.encode(), "last_error": f"error: {PERSONAL}", "meta": meta}
    (record,) = await put(subject.records, created(run_id, **data))
    callback = HeldCallback(
        id="callback",
        workflow_name=WORKFLOW,
        foreign_id=record.foreign_id,
        status=1,
        payload=PERSONAL.encode(),
        created_at=NOW,
        expires_at=NOW + MINUTE,
    )
    await subject.records.hold(callback)
    # Another, that waits for this run alone, and one for whichever run comes next.
    await subject.records.hold(msgspec.structs.replace(callback, id="of this run", run_id=run_id))
    await subject.records.hold(msgspec.structs.replace(callback, id="of any run", payload=b"not personal"))
    takes = msgspec.structs.replace(moved(record, **data), takes=("callback",))
    (record,) = await put(subject.records, takes)
    (record,) = await put(subject.records, moved(record, **data, run_state=RunState.COMPLETED))
    (record,) = await put(subject.records, moved(record, **data, run_state=RunState.REQUESTED_DATA_DELETED))
    letter = DeadLetter(
        workflow_name=WORKFLOW,
        source="outbox",
        run_id=run_id,
        data=PERSONAL.encode(),
        reason=f"cannot decode {PERSONAL}",
        created_at=NOW,
    )
    await subject.records.add_dead_letters([letter, msgspec.structs.replace(letter, source="hook")])
    return record


async def _shown(subject: Subject, run_id: str) -> dict[str, object]:
    """Everything that the ports show of this run, by the question that was asked."""
    store, foreign_id = subject.records, f"foreign of {run_id}"
    letters = await store.list_dead_letters(DeadLetterQuery(workflow_name=WORKFLOW, run_id=run_id))
    asked = HeldCallback(
        id="callback",
        workflow_name=WORKFLOW,
        foreign_id=foreign_id,
        status=1,
        payload=b"",
        created_at=NOW,
        expires_at=NOW + MINUTE,
    )
    stalled = RecordQuery(workflow_name=WORKFLOW, foreign_ids=(foreign_id,))
    return {
        "lookup": await one(store, run_id),
        "latest": await store.latest(WORKFLOW, foreign_id),
        "list": list(await store.list(stalled)),
        "history": list(await store.history(run_id)),
        "list_dead_letters": list(letters),
        "lookup_dead_letters": list(await store.lookup_dead_letters([letter.id for letter in letters])),
        "hold": await store.hold(asked),
        "list_held": list(await store.list_held(WORKFLOW, foreign_id=foreign_id)),
        "list_expired": [
            one
            for one in await store.list_expired(WORKFLOW, now=NOW + MINUTE, limit=10)
            if one.foreign_id == foreign_id
        ],
        "list_outbox": [
            waiting
            for waiting in (await store.list_outbox(WORKFLOW, now=NOW + MINUTE, limit=1_000)).events
            if waiting.event.run_id == run_id
        ],
    }


def _erasing(record: Record) -> NewVersion:
    meta = Meta(run_state_reason="erased", status_description="one", cause=VersionCause.DELETE, actor="engine")
    final = moved(record, run_state=RunState.DATA_DELETED, object=b"blank", last_error="", meta=meta)
    return msgspec.structs.replace(final, erase=True)


@case("contract: erase", "design 4.10: erasure", "W-23")
async def erasure_leaves_no_personal_data_in_any_answer(subject: Subject) -> None:
    last = await _secretive(subject, "erased")
    assert PERSONAL in str(await _shown(subject, "erased")), "otherwise this case proves nothing"
    final = _erasing(last)
    assert list(await settled(subject.records, created("beside"), final)) == [APPLIED, APPLIED]
    await _shows_nothing(subject)
    assert await one(subject.records, "erased") == final.record


async def _shows_nothing(subject: Subject) -> None:
    for question, answer in (await _shown(subject, "erased")).items():
        assert PERSONAL not in str(answer), f"{question} shows personal data after the erasure: {answer}"
    query = DeadLetterQuery(workflow_name=WORKFLOW, run_id="erased")
    letters = await subject.records.list_dead_letters(query)
    assert [(letter.source, letter.data, letter.reason) for letter in letters] == [
        ("outbox", b"", ""),
        ("hook", b"", ""),
    ]
    held = await subject.records.list_held(WORKFLOW, foreign_id="foreign of erased")
    assert [callback.id for callback in held] == ["of any run"], "what waits for this run alone is forgotten"


@case("contract: erase", "design 4.10: erasure")
async def erasure_keeps_the_audit_of_a_run(subject: Subject) -> None:
    last = await _secretive(subject, "erased")
    before = [_fields(row) for row in await subject.records.history("erased")]
    final = _erasing(last)
    await put(subject.records, final)
    rows = await subject.records.history("erased")
    assert _fields(rows[-1]) == _fields(final.record), "the erasing version itself is written as it is"
    for row, earlier in zip(rows, before, strict=False):
        meta = earlier["meta"]
        assert isinstance(meta, Meta)
        bare = {"object": b"", "last_error": "", "meta": msgspec.structs.replace(meta, run_state_reason="", reason="")}
        assert _fields(row) == earlier | bare, f"version {row.version}"
    callback = await subject.records.hold(
        HeldCallback(
            id="callback",
            workflow_name=WORKFLOW,
            foreign_id=last.foreign_id,
            status=1,
            payload=b"again",
            created_at=NOW,
            expires_at=NOW + MINUTE,
        )
    )
    assert callback.taken_by == "erased", "the id is remembered, so that the callback is not delivered again"


@case("contract: erase", "design 4.10: erasure")
async def erasure_leaves_other_runs_alone(subject: Subject) -> None:
    last = await _secretive(subject, "erased")
    await _secretive(subject, "kept")
    before = await _shown(subject, "kept")
    await put(subject.records, _erasing(last))
    after = await _shown(subject, "kept")
    assert after == before
    assert str(after).count(PERSONAL) == str(before).count(PERSONAL) > 0


@case("contract: erase", "design 4.10: erasure", needs=[Capability.REOPENING])
async def personal_data_is_gone_after_reopening_too(subject: Subject) -> None:
    last = await _secretive(subject, "erased")
    await put(subject.records, _erasing(last))
    await subject.reopen()
    await _shows_nothing(subject)
