# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for `DeadLetters`: what could not be decoded, sent or handled is kept, found and removed by its id.

`pages` holds the pages of the listing, `marks` and `histories` the erasure.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from workflow.protocols import DeadLetter, DeadLetterQuery

from ._kit import Capability, Subject, cases_of
from ._values import NOW, SECOND, WORKFLOW

case = cases_of("records")


def _letters(count: int, **fields: object) -> list[DeadLetter]:
    return [
        msgspec.structs.replace(
            DeadLetter(
                workflow_name=WORKFLOW,
                source=f"consumer {number}",
                run_id=f"run {number % 2}" if number else "",
                data=bytes([0, number, 255]),
                reason=f"é reason {number}",
                created_at=NOW + number * SECOND,
            ),
            **fields,
        )
        for number in range(count)
    ]


async def _all(subject: Subject, workflow_name: str = WORKFLOW) -> Sequence[DeadLetter]:
    return await subject.records.list_dead_letters(DeadLetterQuery(workflow_name=workflow_name, limit=1_000))


def _bare(letters: Sequence[DeadLetter]) -> list[DeadLetter]:
    """The letters as they were before the store gave them ids."""
    return [msgspec.structs.replace(letter, id="") for letter in letters]


def _ids(letters: Sequence[DeadLetter]) -> list[str]:
    return [letter.id for letter in letters]


@case("contract: dead letters")
async def a_dead_letter_is_read_back_in_every_field_under_an_id_of_its_own(subject: Subject) -> None:
    letters = [*_letters(5), *_letters(1, data=bytes(range(256)) * 400, reason="", source="")]
    await subject.records.add_dead_letters(letters[:2])
    await subject.records.add_dead_letters([])
    await subject.records.add_dead_letters(letters[2:])
    kept = await _all(subject)
    assert _bare(kept) == letters
    assert all(letter.id for letter in kept)
    assert len(set(_ids(kept))) == len(letters)
    assert list(await subject.records.lookup_dead_letters(_ids(kept))) == list(kept)


@case("contract: dead letters")
async def dead_letters_are_listed_for_one_workflow_or_one_of_its_runs(subject: Subject) -> None:
    await subject.records.add_dead_letters(_letters(6))
    await subject.records.add_dead_letters(_letters(4, workflow_name="another workflow"))
    assert _bare(await _all(subject)) == _letters(6)
    assert _bare(await _all(subject, "another workflow")) == _letters(4, workflow_name="another workflow")
    assert not await _all(subject, "unknown workflow")
    for run_id, places in (("run 1", (1, 3, 5)), ("run 0", (2, 4)), ("", (0,)), ("unknown", ())):
        found = await subject.records.list_dead_letters(DeadLetterQuery(workflow_name=WORKFLOW, run_id=run_id))
        assert _bare(found) == [_letters(6)[place] for place in places], f"run ID {run_id!r}"


@case("contract: dead letters")
async def dead_letters_are_looked_up_oldest_first_and_unknown_ids_are_left_out(subject: Subject) -> None:
    await subject.records.add_dead_letters(_letters(6))
    kept = await _all(subject)
    unknown = ["unknown", "", "-1", "0", "9" * 30, "1.5", "é", "\0"]
    asked = [*_ids(kept)[::-2], *unknown, kept[1].id]
    assert list(await subject.records.lookup_dead_letters(asked)) == [kept[1], kept[3], kept[5]]
    assert not await subject.records.lookup_dead_letters(unknown)
    assert not await subject.records.lookup_dead_letters([])


@case("contract: dead letters")
async def removed_dead_letters_are_gone_and_may_be_removed_again(subject: Subject) -> None:
    await subject.records.add_dead_letters(_letters(5))
    kept = await _all(subject)
    gone = [kept[0].id, kept[3].id]
    for _ in range(2):
        await subject.records.remove_dead_letters([*gone, "unknown", "9" * 30])
        assert list(await _all(subject)) == [kept[1], kept[2], kept[4]]
        assert list(await subject.records.lookup_dead_letters(_ids(kept))) == [kept[1], kept[2], kept[4]]
    await subject.records.remove_dead_letters([])
    await subject.records.add_dead_letters(_letters(1))
    added = set(_ids(await _all(subject))) - set(_ids(kept))
    assert len(added) == 1, "the id of a dead letter that was removed is not given again"


@case("contract: dead letters")
async def of_dead_letters_added_at_once_none_is_lost(subject: Subject) -> None:
    stores = [subject.records]
    if Capability.SECOND_INSTANCE not in subject.factory.lacks:
        stores.append((await subject.another()).record_store)
    batches = [_letters(10, source=f"batch {number}") for number in range(8)]
    await asyncio.gather(*(stores[n % len(stores)].add_dead_letters(batch) for n, batch in enumerate(batches)))
    kept = await _all(subject)
    assert len(set(_ids(kept))) == 80
    for number, batch in enumerate(batches):
        of_batch = sorted((letter for letter in kept if letter.source == f"batch {number}"), key=lambda x: x.created_at)
        assert _bare(of_batch) == batch


@case("contract: dead letters", needs=[Capability.REOPENING])
async def dead_letters_keep_their_ids_after_reopening(subject: Subject) -> None:
    await subject.records.add_dead_letters(_letters(4))
    kept = await _all(subject)
    await subject.records.remove_dead_letters([kept[0].id])
    await subject.reopen()
    assert list(await _all(subject)) == list(kept[1:])
    assert list(await subject.records.lookup_dead_letters(_ids(kept))) == list(kept[1:])
