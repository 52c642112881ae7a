# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for `HeldCallbacks`: callbacks that wait for their run.

`takes` holds their delivery, `pages` the pages of the listing.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from workflow.protocols import HeldCallback, RecordStore

from ._kit import Capability, Subject, cases_of
from ._values import END_OF_TIME, MINUTE, NOW, SECOND, WORKFLOW

case = cases_of("records")

OTHER = "another workflow"


def _callback(number: int = 0, **fields: object) -> HeldCallback:
    """A callback of its own id, held so many seconds after the first."""
    callback = HeldCallback(
        id=f"callback {number}",
        workflow_name=WORKFLOW,
        foreign_id="order é",
        status=1,
        payload=b"payload %d" % number,
        created_at=NOW + number * SECOND,
        expires_at=NOW + MINUTE,
    )
    return msgspec.structs.replace(callback, **fields)


async def _hold(subject: Subject, *callbacks: HeldCallback) -> None:
    for callback in callbacks:
        assert await subject.records.hold(callback) == callback


async def _all(subject: Subject, workflow_name: str = WORKFLOW) -> Sequence[HeldCallback]:
    return list(await subject.records.list_held(workflow_name, limit=1_000))


async def _stores(subject: Subject) -> Sequence[RecordStore]:
    if Capability.SECOND_INSTANCE in subject.factory.lacks:
        return [subject.records]
    return [subject.records, (await subject.another()).record_store]


@case("contract: hold")
async def a_held_callback_is_read_back_in_every_field(subject: Subject) -> None:
    callbacks = [
        _callback(0),
        _callback(1, run_id="run é", status=-3),
        _callback(2, payload=b"", id="é\n"),
        _callback(3, payload=bytes(range(256)) * 400, expires_at=NOW - MINUTE),
    ]
    await _hold(subject, *callbacks)
    assert await _all(subject) == callbacks
    found = await subject.records.held(WORKFLOW, [("order é", 1), ("order é", -3)], limit=10)
    assert list(found) == callbacks
    expired = await subject.records.list_expired(WORKFLOW, now=NOW + MINUTE, limit=10)
    assert sorted(expired, key=lambda callback: callback.created_at) == callbacks


@case("contract: hold")
async def a_callback_of_an_id_that_is_held_stays_as_it_was(subject: Subject) -> None:
    first = _callback()
    await _hold(subject, first)
    for other in (first, _callback(payload=b"other"), _callback(status=9, run_id="run", expires_at=NOW + 9 * MINUTE)):
        assert await subject.records.hold(other) == first, "the callback of this id as the store has it"
    assert await _all(subject) == [first]


@case("contract: hold")
async def one_id_of_another_foreign_id_or_workflow_is_another_callback(subject: Subject) -> None:
    ours, other, theirs = _callback(), _callback(foreign_id="another order"), _callback(workflow_name=OTHER)
    await _hold(subject, ours, other, theirs)
    assert sorted(callback.foreign_id for callback in await _all(subject)) == ["another order", "order é"]
    assert await _all(subject, OTHER) == [theirs]
    await subject.records.release([ours])
    assert await _all(subject) == [other]
    assert await _all(subject, OTHER) == [theirs]


@case("contract: hold", "W-1")
async def of_many_callbacks_of_one_id_held_at_once_one_is_kept(subject: Subject) -> None:
    stores = await _stores(subject)
    for turn in range(5):
        rivals = [_callback(turn, payload=b"rival %d" % number) for number in range(6)]
        answers = await asyncio.gather(*(stores[n % len(stores)].hold(rival) for n, rival in enumerate(rivals)))
        assert all(answer == answers[0] for answer in answers), f"two were told that theirs is kept: {answers}"
        assert answers[0] in rivals
        assert [callback for callback in await _all(subject) if callback.id == rivals[0].id] == [answers[0]]


@case("contract: held")
async def held_callbacks_are_found_for_pairs_of_foreign_id_and_status(subject: Subject) -> None:
    keys = [("a", 1), ("b", 2), ("a", 2), ("b", 1), ("a", 1), ("c", 1), ("b", 2)]
    callbacks = [_callback(n, foreign_id=key, status=status) for n, (key, status) in enumerate(keys)]
    await _hold(subject, *callbacks)
    await _hold(subject, _callback(foreign_id="a", workflow_name=OTHER))
    questions: tuple[tuple[list[tuple[str, int]], tuple[int, ...]], ...] = (
        ([("a", 1)], (0, 4)),
        ([("a", 1), ("b", 2)], (0, 1, 4, 6)),
        ([("b", 2), ("a", 1), ("b", 2)], (0, 1, 4, 6)),
        ([("c", 2), ("unknown", 1)], ()),
        ([], ()),
        ([(key, status) for key in "abc" for status in (1, 2, 3)], tuple(range(7))),
    )
    for wanted, places in questions:
        for limit in (1, 3, 100):
            found = list(await subject.records.held(WORKFLOW, wanted, limit=limit))
            assert found == [callbacks[place] for place in places][:limit], f"{wanted}, limit {limit}: {found}"
    assert not await subject.records.held("unknown workflow", [("a", 1)], limit=10)


@case("contract: held")
async def held_callbacks_are_found_for_hundreds_of_pairs_in_one_call(subject: Subject) -> None:
    callbacks = [_callback(number, foreign_id=f"order {number}") for number in range(20)]
    await _hold(subject, *callbacks)
    wanted = [(f"order {number}", status) for number in range(500) for status in (1, 2)]
    assert list(await subject.records.held(WORKFLOW, wanted, limit=1_000)) == callbacks


@case("contract: list_expired")
async def expired_callbacks_are_listed_by_expiry_from_exactly_their_time_on(subject: Subject) -> None:
    minutes = (5, 1, 3, 4, 2)
    callbacks = [_callback(number, expires_at=NOW + minute * MINUTE) for number, minute in enumerate(minutes)]
    await _hold(subject, *callbacks, _callback(workflow_name=OTHER, expires_at=NOW))
    ordered = sorted(callbacks, key=lambda callback: callback.expires_at)
    for minute in range(7):
        found = await subject.records.list_expired(WORKFLOW, now=NOW + minute * MINUTE, limit=100)
        assert list(found) == ordered[:minute], f"after {minute} minutes"
    early = await subject.records.list_expired(WORKFLOW, now=NOW + 2 * MINUTE - SECOND, limit=100)
    assert list(early) == ordered[:1]
    found = await subject.records.list_expired(WORKFLOW, now=NOW + 9 * MINUTE, limit=2)
    assert list(found) == ordered[:2], "the earliest first, at most the limit"
    assert await _all(subject) == callbacks, "an expired callback is held until it is released"


@case("contract: moments")
async def a_held_callback_that_never_expires_is_read_back(subject: Subject) -> None:
    never, soon = _callback(0, expires_at=END_OF_TIME), _callback(1, expires_at=NOW)
    await _hold(subject, never, soon)
    assert await _all(subject) == [never, soon]
    assert list(await subject.records.list_expired(WORKFLOW, now=NOW + 10_000 * MINUTE, limit=100)) == [soon]


@case("contract: release")
async def a_released_callback_is_forgotten_and_its_id_is_free(subject: Subject) -> None:
    callbacks = [_callback(number) for number in range(4)]
    await _hold(subject, *callbacks)
    for _ in range(2):
        await subject.records.release([callbacks[1], callbacks[3], _callback(9, foreign_id="unknown")])
        assert await _all(subject) == [callbacks[0], callbacks[2]]
    await subject.records.release([])
    again = _callback(1, payload=b"anew", created_at=NOW + 9 * SECOND)
    await _hold(subject, again)
    assert await _all(subject) == [callbacks[0], callbacks[2], again]


@case("contract: hold", needs=[Capability.SECOND_INSTANCE])
async def a_callback_held_by_one_process_is_seen_by_every_other(subject: Subject) -> None:
    there = (await subject.another()).record_store
    callback = _callback()
    await _hold(subject, callback)
    assert list(await there.list_held(WORKFLOW)) == [callback]
    assert await there.hold(_callback(payload=b"other")) == callback
    await there.release([callback])
    assert not await _all(subject)


@case("contract: hold", needs=[Capability.REOPENING])
async def held_callbacks_are_there_after_reopening(subject: Subject) -> None:
    callbacks = [_callback(number) for number in range(3)]
    await _hold(subject, *callbacks)
    await subject.records.release(callbacks[1:2])
    await subject.reopen()
    assert await _all(subject) == [callbacks[0], callbacks[2]]
