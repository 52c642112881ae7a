# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for `RecordStore.store` under fire: several writers, cancelled writers, changes that cannot be stored."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from workflow.protocols import NewVersion, RecordStore, RunState, Verdict

from ._kit import Capability, Subject, cases_of
from ._values import NOW, WORKFLOW, cancelled, created, moved, one, put, settled, version_of

case = cases_of("records")


async def _writers(subject: Subject, count: int) -> Sequence[RecordStore]:
    """Record stores of several instances if the storage takes more than one, else of the one there is."""
    if Capability.SECOND_INSTANCE in subject.factory.lacks:
        return [subject.records] * count
    others = [await subject.another() for _ in range(min(count, 3) - 1)]
    stores = [subject.records, *(backend.record_store for backend in others)]
    return [stores[number % len(stores)] for number in range(count)]


@case("W-1", "contract: compare-and-swap")
async def of_many_writers_of_one_version_exactly_one_wins(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    stores = await _writers(subject, 8)
    for _ in range(10):
        rivals = [moved(record) for _ in stores]
        answers = await asyncio.gather(*(settled(store, move) for store, move in zip(stores, rivals, strict=True)))
        won = [move for move, (outcome,) in zip(rivals, answers, strict=True) if outcome.verdict is Verdict.APPLIED]
        assert len(won) == 1, f"{len(won)} writers of version {record.version + 1} were told that they won"
        lost = [outcome for (outcome,) in answers if outcome.verdict is not Verdict.APPLIED]
        assert all(outcome.verdict is Verdict.CONFLICT for outcome in lost), lost
        assert all(outcome.record == won[0].record for outcome in lost), "a conflict carries the present record"
        record = await one(subject.records, "run")
        assert record == won[0].record
    history = await subject.records.history("run")
    assert [row.version for row in history] == list(range(1, 12))


@case("W-1", "design 4.11: one live run")
async def of_many_creations_on_one_foreign_id_exactly_one_wins(subject: Subject) -> None:
    stores = await _writers(subject, 8)
    for turn in range(5):
        rivals = [created(f"run {turn}/{number}", f"foreign {turn}") for number in range(len(stores))]
        answers = await asyncio.gather(*(settled(store, move) for store, move in zip(stores, rivals, strict=True)))
        won = [move.run_id for move, (o,) in zip(rivals, answers, strict=True) if o.verdict is Verdict.APPLIED]
        assert len(won) == 1, f"{len(won)} live runs of one foreign ID"
        live = await subject.records.latest(WORKFLOW, f"foreign {turn}")
        assert live is not None
        assert live.run_id == won[0]
        found = await subject.records.lookup([move.run_id for move in rivals])
        assert set(found) == set(won), "a run that was refused exists all the same"
        refused = [outcome for (outcome,) in answers if outcome.verdict is not Verdict.APPLIED]
        assert all(outcome.verdict is Verdict.IN_PROGRESS for outcome in refused), refused
        assert all(outcome.record is not None and outcome.record.run_id == won[0] for outcome in refused)


@case("design 4.11: idempotent trigger")
async def of_one_creation_sent_many_times_at_once_there_is_one_run(subject: Subject) -> None:
    stores = await _writers(subject, 8)
    move = created("run")
    answers = await asyncio.gather(*(settled(store, move) for store in stores))
    verdicts = sorted(outcome.verdict.name for (outcome,) in answers)
    assert verdicts == ["ALREADY_APPLIED"] * 7 + ["APPLIED"]
    page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=10)
    assert len(page.events) == 1


@case("design 4.1: group commit")
async def batches_that_overlap_in_opposite_order_all_get_an_answer(subject: Subject) -> None:
    firsts = [created(f"run {number:02}") for number in range(20)]
    await subject.records.store(firsts)
    stores = await _writers(subject, 4)
    batches = [[moved(move.record) for move in firsts] for _ in stores]
    for number, batch in enumerate(batches):
        batch.sort(key=lambda move: move.run_id, reverse=number % 2 == 1)
    answers = await asyncio.gather(*(settled(store, *batch) for store, batch in zip(stores, batches, strict=True)))
    won: dict[str, list[NewVersion]] = {move.run_id: [] for move in firsts}
    for batch, outcomes in zip(batches, answers, strict=True):
        for move, outcome in zip(batch, outcomes, strict=True):
            if outcome.verdict in (Verdict.APPLIED, Verdict.ALREADY_APPLIED):
                won[move.run_id].append(move)
    assert {len(moves) for moves in won.values()} == {1}, won
    for run_id, (move,) in won.items():
        assert await one(subject.records, run_id) == move.record


@case("R-OUTBOX-1", "contract: a call finishes once it has begun")
async def a_cancelled_store_leaves_record_history_and_event_or_nothing(subject: Subject) -> None:
    for number in range(30):
        move = created(f"run {number}")
        task = asyncio.ensure_future(subject.records.store([move]))
        for _ in range(number % 10):
            await asyncio.sleep(0)
        if number >= 20:
            await asyncio.sleep((number - 20) / 5_000)
        await cancelled(task)
        page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=1_000)
        record = (await subject.records.lookup([move.run_id])).get(move.run_id)
        history = await subject.records.history(move.run_id)
        if any(waiting.event.run_id == move.run_id for waiting in page.events):
            assert record == move.record, "the event was visible before the record"
        if record is not None:
            assert list(history) == [version_of(move.record)], "the record was visible before its history"
        (outcome,) = await settled(subject.records, move)
        assert outcome.ok, f"sent again after a cancellation: {outcome}"
        page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=1_000)
        assert sum(waiting.event.run_id == move.run_id for waiting in page.events) == 1
        assert list(await subject.records.history(move.run_id)) == [version_of(move.record)]


@case("contract: a call finishes once it has begun")
async def a_store_that_was_cancelled_does_not_disturb_the_next(subject: Subject) -> None:
    for number in range(20):
        doomed = asyncio.ensure_future(subject.records.store([created(f"doomed {number}")]))
        beside = asyncio.ensure_future(subject.records.store([created(f"beside {number}")]))
        await asyncio.sleep(0)
        await cancelled(doomed)
        (outcome,) = await beside
        assert outcome.verdict is Verdict.APPLIED, outcome
        assert (await one(subject.records, f"beside {number}")).run_id == f"beside {number}"


_POISONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("foreign_id", {"foreign_id": "nul \0 inside"}),
    ("foreign_id", {"foreign_id": "x" * 100_000}),
    ("foreign_id", {"foreign_id": "\ud800 alone"}),
    ("last_error", {"last_error": "nul \0 inside"}),
    ("last_error", {"last_error": "\ud800 alone"}),
    ("attempt_id", {"attempt_id": "nul \0 inside"}),
    ("workflow_name", {"workflow_name": "nul \0 inside"}),
    ("status", {"status": 2**80}),
)


@case("contract: store", "design 4.1: a batch fails on data")
async def a_value_that_cannot_be_stored_gives_an_error_that_names_its_field(subject: Subject) -> None:
    silent: list[str] = []
    for number, (field, poison) in enumerate(_POISONS):
        move = created(f"run {number}", **poison)
        (outcome,) = await settled(subject.records, move)
        if outcome.verdict is Verdict.APPLIED:
            assert await one(subject.records, move.run_id) == move.record, f"{field} was changed without a word"
            continue
        assert outcome.verdict is Verdict.REFUSED, f"{field}: {outcome}"
        if field not in str(outcome.error):
            silent.append(f"{field}: {outcome.error!r}")
        assert not await subject.records.lookup([move.run_id])
    assert not silent, f"errors that do not name the field at fault: {silent}"


@case("contract: store")
async def large_objects_and_errors_are_stored_as_they_are(subject: Subject) -> None:
    big = created("run", object=bytes(range(256)) * 8_192, last_error="é" * 8_192, run_state=RunState.PAUSED)
    (record,) = await put(subject.records, big)
    assert record == big.record
    empty = moved(record, object=b"", last_error="", meta=msgspec.structs.replace(record.meta, trace_context={}))
    (record,) = await put(subject.records, empty)
    assert record == empty.record
