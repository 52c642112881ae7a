# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for `NewVersion.takes`: a version delivers held callbacks, each once, all of them or none."""

import asyncio

import msgspec

from workflow.protocols import ALREADY_APPLIED, APPLIED, Change, HeldCallback, NewVersion, Record, RunState, Verdict

from ._kit import Subject, cases_of
from ._values import MINUTE, NOW, WORKFLOW, created, moved, one, put, settled

case = cases_of("records")


def _callback(id_: str, run_id: str = "run", **fields: object) -> HeldCallback:
    callback = HeldCallback(
        id=id_,
        workflow_name=WORKFLOW,
        foreign_id=f"foreign of {run_id}",
        status=1,
        payload=b"payload of " + id_.encode(),
        created_at=NOW,
        expires_at=NOW + MINUTE,
    )
    return msgspec.structs.replace(callback, **fields)


def _taking(change: NewVersion, *ids: str) -> NewVersion:
    return msgspec.structs.replace(change, takes=ids)


async def _held(subject: Subject) -> set[str]:
    return {callback.id for callback in await subject.records.list_held(WORKFLOW)}


async def _taken_by(subject: Subject, callback: HeldCallback) -> str:
    """The run that took the callback, by holding it once more; empty if it is held."""
    found = await subject.records.hold(callback)
    assert (found.id, found.foreign_id) == (callback.id, callback.foreign_id), found
    assert found.payload == (b"" if found.taken_by else callback.payload), f"a taken one has no payload: {found}"
    return found.taken_by


async def _conflicts_and_takes_nothing(subject: Subject, change: NewVersion, present: Record | None) -> None:
    (outcome,) = await settled(subject.records, change)
    assert outcome.verdict is Verdict.CONFLICT, f"took {change.takes}: {outcome}"
    assert outcome.record == present, outcome
    assert (await subject.records.lookup([change.run_id])).get(change.run_id) == present
    versions = [] if present is None else list(range(1, present.version + 1))
    assert [row.version for row in await subject.records.history(change.run_id)] == versions
    page = await subject.records.list_outbox(WORKFLOW, now=NOW + MINUTE, limit=1_000)
    sent = [waiting.event.version for waiting in page.events if waiting.event.run_id == change.run_id]
    assert sent == versions, "a conflict sends no event"


@case("contract: takes")
async def a_version_takes_a_held_callback_and_its_payload_is_dropped(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    taken, left = _callback("taken"), _callback("left")
    await subject.records.hold(taken)
    await subject.records.hold(left)
    move = _taking(moved(record), "taken")
    assert list(await settled(subject.records, move)) == [APPLIED]
    assert await one(subject.records, "run") == move.record
    assert await _held(subject) == {"left"}
    found = await subject.records.held(WORKFLOW, [(taken.foreign_id, 1)], limit=10)
    assert [callback.id for callback in found] == ["left"]
    expired = await subject.records.list_expired(WORKFLOW, now=NOW + MINUTE, limit=10)
    assert [callback.id for callback in expired] == ["left"], "a taken one does not expire"
    assert await _taken_by(subject, taken) == "run"
    assert await _taken_by(subject, left) == ""
    assert await _held(subject) == {"left"}, "the id of the taken one is remembered"


@case("contract: takes")
async def a_run_may_take_callbacks_as_it_is_created(subject: Subject) -> None:
    callbacks = [_callback(f"callback {number}", "new") for number in range(3)]
    for callback in callbacks:
        await subject.records.hold(callback)
    change = _taking(created("new"), "callback 0", "callback 2")
    assert list(await settled(subject.records, change)) == [APPLIED]
    assert await _held(subject) == {"callback 1"}
    assert [await _taken_by(subject, callback) for callback in callbacks] == ["new", "", "new"]


@case("contract: takes")
async def a_version_that_takes_a_callback_that_is_not_held_is_a_conflict(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    gone, taken = _callback("gone"), _callback("taken")
    await subject.records.hold(gone)
    await subject.records.release([gone])
    await subject.records.hold(taken)
    (record,) = await put(subject.records, _taking(moved(record), "taken"))
    for id_ in ("gone", "taken", "never held"):
        await _conflicts_and_takes_nothing(subject, _taking(moved(record), id_), record)
        await _conflicts_and_takes_nothing(subject, _taking(created(f"new {id_}"), id_), None)
    await put(subject.records, moved(record))


@case("contract: takes")
async def a_version_takes_all_of_its_callbacks_or_none(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    callbacks = [_callback("a"), _callback("b")]
    for callback in callbacks:
        await subject.records.hold(callback)
    for ids in (("a", "gone"), ("gone", "b"), ("a", "gone", "b")):
        await _conflicts_and_takes_nothing(subject, _taking(moved(record), *ids), record)
        assert await _held(subject) == {"a", "b"}, f"takes {ids}"
    assert [await _taken_by(subject, callback) for callback in callbacks] == ["", ""]
    await put(subject.records, _taking(moved(record), "a", "b"))
    assert await _held(subject) == set()


@case("contract: takes")
async def a_version_that_is_not_written_takes_nothing(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run"))
    (second,) = await put(subject.records, moved(first))
    callback = _callback("callback")
    await subject.records.hold(callback)
    await _conflicts_and_takes_nothing(subject, _taking(moved(first), "callback"), second)
    rival = _taking(created("rival", first.foreign_id), "callback")
    (outcome,) = await settled(subject.records, rival)
    assert outcome.verdict is Verdict.IN_PROGRESS, outcome
    assert await _held(subject) == {"callback"}
    assert await _taken_by(subject, callback) == ""


@case("contract: takes", "design 4.1: attempt ids")
async def a_version_that_took_a_callback_is_already_applied_when_it_is_sent_again(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    await subject.records.hold(_callback("callback"))
    move = _taking(moved(record), "callback")
    await put(subject.records, move)
    assert list(await settled(subject.records, move)) == [ALREADY_APPLIED]
    await put(subject.records, moved(move.record))
    assert list(await settled(subject.records, move)) == [ALREADY_APPLIED], "also when later versions exist"


@case("contract: takes")
async def one_id_is_taken_from_the_foreign_id_and_workflow_of_its_run_only(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    ours, other = _callback("same"), _callback("same", "other")
    theirs = _callback("same", workflow_name="another workflow")
    for callback in (other, theirs):
        await subject.records.hold(callback)
    await _conflicts_and_takes_nothing(subject, _taking(moved(record), "same"), record)
    await subject.records.hold(ours)
    await put(subject.records, _taking(moved(record), "same"))
    assert [await _taken_by(subject, callback) for callback in (ours, other, theirs)] == ["run", "", ""]


@case("contract: takes", "contract: verdicts")
async def a_version_whose_callback_is_gone_leaves_the_rest_of_its_batch_alone(subject: Subject) -> None:
    records = await put(subject.records, *(created(f"run {number}") for number in range(4)))
    good = [_callback(f"callback {number}", f"run {number}") for number in (1, 3)]
    for callback in good:
        await subject.records.hold(callback)
    batch: list[Change] = [
        _taking(moved(records[0]), "gone"),
        _taking(moved(records[1]), "callback 1"),
        moved(records[2]),
        _taking(moved(records[3]), "callback 3"),
    ]
    outcomes = await settled(subject.records, *batch)
    verdicts = [outcome.verdict for outcome in outcomes]
    assert verdicts == [Verdict.CONFLICT, Verdict.APPLIED, Verdict.APPLIED, Verdict.APPLIED], outcomes
    found = await subject.records.lookup([record.run_id for record in records])
    assert [found[record.run_id].version for record in records] == [1, 2, 2, 2]
    assert [await _taken_by(subject, callback) for callback in good] == ["run 1", "run 3"]


@case("contract: takes", "design 4.10: erasure")
async def an_erasing_version_whose_callback_is_gone_erases_nothing(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run", object=b"secret"))
    (record,) = await put(subject.records, moved(first, object=b"newer", last_error="text"))
    final = _taking(moved(record, run_state=RunState.DATA_DELETED, object=b""), "gone")
    await _conflicts_and_takes_nothing(subject, msgspec.structs.replace(final, erase=True), record)
    history = await subject.records.history("run")
    assert [(row.object, row.last_error) for row in history] == [(b"secret", ""), (b"newer", "text")]


@case("contract: takes", "W-1")
async def of_two_runs_that_take_one_callback_at_once_exactly_one_wins(subject: Subject) -> None:
    for turn in range(8):
        key, callback = f"shared {turn}", _callback("callback", foreign_id=f"shared {turn}")
        (first,) = await put(subject.records, created(f"old {turn}", key))
        (old,) = await put(subject.records, moved(first, run_state=RunState.COMPLETED))
        (new,) = await put(subject.records, created(f"new {turn}", key))
        await subject.records.hold(callback)
        deleting = moved(old, run_state=RunState.REQUESTED_DATA_DELETED)
        answers = await asyncio.gather(
            settled(subject.records, _taking(deleting, "callback")),
            settled(subject.records, _taking(moved(new), "callback")),
        )
        verdicts = [outcome.verdict for (outcome,) in answers]
        assert sorted(v.name for v in verdicts) == ["APPLIED", "CONFLICT"], verdicts
        winner = old.run_id if verdicts[0] is Verdict.APPLIED else new.run_id
        assert await _taken_by(subject, callback) == winner


@case("contract: takes", "contract: release")
async def a_callback_that_is_taken_and_released_at_once_is_either(subject: Subject) -> None:
    for turn in range(8):
        (record,) = await put(subject.records, created(f"run {turn}"))
        callback = _callback("callback", f"run {turn}")
        await subject.records.hold(callback)
        taking = asyncio.ensure_future(settled(subject.records, _taking(moved(record), "callback")))
        if turn % 2:
            await asyncio.sleep(0)
        await subject.records.release([callback])
        (outcome,) = await taking
        assert outcome.verdict in (Verdict.APPLIED, Verdict.CONFLICT), outcome
        wanted = record.run_id if outcome.verdict is Verdict.APPLIED else ""
        assert await _taken_by(subject, callback) == wanted, "it is taken, or its id is free again"
