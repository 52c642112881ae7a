# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for what users write in the transaction that moves a run, and for rows that such a transaction holds."""

import asyncio

import msgspec

from workflow.protocols import ALREADY_APPLIED, Change, JoinsTransactions, NewVersion, Note, Verdict

from ._kit import Capability, Subject, cases_of
from ._values import NOW, WORKFLOW, created, moved, one, put, settled

case = cases_of("records")

WRITES = [Capability.ON_COMMIT]
JOINS = [Capability.JOINED_TRANSACTIONS]


def _writing(subject: Subject, move: NewVersion, *values: str) -> NewVersion:
    return msgspec.structs.replace(move, on_commit=tuple(subject.factory.business_write(value) for value in values))


def _joined(subject: Subject) -> bool:
    assert isinstance(subject.records, JoinsTransactions), "a store that joins transactions says so"
    return subject.records.joined()


@case("design 4.1: on_commit", needs=WRITES)
async def a_users_rows_are_committed_with_the_move(subject: Subject) -> None:
    first = _writing(subject, created("run"), "at the start")
    (record,) = await put(subject.records, first)
    await put(subject.records, _writing(subject, moved(record), "one", "two"))
    assert sorted(await subject.factory.business_rows()) == ["at the start", "one", "two"]
    assert [row.version for row in await subject.records.history("run")] == [1, 2]


@case("design 4.1: on_commit", needs=WRITES)
async def a_users_rows_are_not_written_for_a_move_that_is_refused(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    await put(subject.records, moved(record))
    (outcome,) = await settled(subject.records, _writing(subject, moved(record), "stale"))
    assert outcome.verdict is Verdict.CONFLICT, outcome
    (outcome,) = await settled(subject.records, _writing(subject, created("rival", record.foreign_id), "rival"))
    assert outcome.verdict is Verdict.IN_PROGRESS, outcome
    assert not await subject.factory.business_rows()


@case("design 4.1: on_commit", needs=WRITES)
async def a_users_rows_are_written_once_however_often_the_move_is_sent(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    move = _writing(subject, moved(record), "once")
    await put(subject.records, move)
    assert list(await settled(subject.records, move)) == [ALREADY_APPLIED]
    assert list(await subject.factory.business_rows()) == ["once"]


@case("design 4.1: on_commit", needs=WRITES)
async def of_many_who_write_along_with_one_version_one_leaves_rows(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    rivals = [_writing(subject, moved(record), f"rival {number}") for number in range(6)]
    answers = await asyncio.gather(*(settled(subject.records, move) for move in rivals))
    won = [number for number, (outcome,) in enumerate(answers) if outcome.verdict is Verdict.APPLIED]
    assert len(won) == 1, answers
    assert list(await subject.factory.business_rows()) == [f"rival {won[0]}"]


class _UsersError(Exception):
    pass


def _fails(*_: object) -> None:
    raise _UsersError("the user's own fault")


@case("design 4.1: on_commit", needs=WRITES)
async def a_users_function_that_raises_undoes_the_move(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    move = _writing(subject, moved(record), "undone")
    (outcome,) = await settled(subject.records, msgspec.structs.replace(move, on_commit=(*move.on_commit, _fails)))
    assert outcome.verdict is Verdict.REFUSED, outcome
    assert isinstance(outcome.error, _UsersError), "the error of the user's function reaches the caller as it is"
    assert await one(subject.records, "run") == record
    assert len(await subject.records.history("run")) == 1
    assert len((await subject.records.list_outbox(WORKFLOW, now=NOW, limit=10)).events) == 1
    assert not await subject.factory.business_rows()
    await put(subject.records, move)
    assert list(await subject.factory.business_rows()) == ["undone"]


@case("design 4.1: joined", needs=JOINS)
async def a_joined_change_is_committed_with_the_users_transaction(subject: Subject) -> None:
    assert not _joined(subject)
    async with subject.factory.transaction(subject.backend) as write:
        assert _joined(subject)
        await write("with it")
        (outcome,) = await subject.records.store([created("run")])
        assert outcome.verdict is Verdict.APPLIED, outcome
        assert not await subject.factory.business_rows()
    assert not _joined(subject)
    assert (await one(subject.records, "run")).version == 1
    assert list(await subject.factory.business_rows()) == ["with it"]
    page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=10)
    assert [waiting.event.run_id for waiting in page.events] == ["run"]


@case("design 4.1: joined", needs=JOINS)
async def a_joined_change_is_rolled_back_with_the_users_transaction(subject: Subject) -> None:
    (before,) = await put(subject.records, created("present"))
    try:
        async with subject.factory.transaction(subject.backend) as write:
            await write("gone")
            for move in (created("run"), moved(before)):
                (outcome,) = await subject.records.store([move])
                assert outcome.verdict is Verdict.APPLIED, outcome
            raise _UsersError("changed their mind")
    except _UsersError:
        pass
    assert not await subject.records.lookup(["run"])
    assert await one(subject.records, "present") == before
    assert not await subject.factory.business_rows()
    page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=10)
    assert [waiting.event.run_id for waiting in page.events] == ["present"]


@case("design 4.1: joined", needs=JOINS)
async def a_joined_change_that_is_refused_leaves_the_users_transaction_usable(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run"))
    await put(subject.records, moved(first))
    async with subject.factory.transaction(subject.backend) as write:
        (outcome,) = await subject.records.store([moved(first)])
        assert outcome.verdict is Verdict.CONFLICT, outcome
        (outcome,) = await subject.records.store([created("second", first.foreign_id)])
        assert outcome.verdict is Verdict.IN_PROGRESS, outcome
        await write("all the same")
    assert list(await subject.factory.business_rows()) == ["all the same"]
    assert not await subject.records.lookup(["second"])


@case("design 4.1: joined", needs=JOINS)
async def only_the_task_inside_the_transaction_is_joined(subject: Subject) -> None:
    beside = asyncio.Event()
    seen: list[bool] = []

    async def look() -> None:
        await beside.wait()
        seen.append(_joined(subject))

    looking = asyncio.ensure_future(look())
    async with subject.factory.transaction(subject.backend):
        beside.set()
        await looking
    assert seen == [False], "another task is not inside this transaction"


@case("design 4.1: a batch never waits", needs=JOINS)
async def a_batch_does_not_wait_for_a_row_that_a_users_transaction_holds(subject: Subject) -> None:
    held, free = await put(subject.records, created("held"), created("free"))
    locked, release = asyncio.Event(), asyncio.Event()

    async def user() -> None:
        async with subject.factory.transaction(subject.backend):
            await subject.records.store([moved(held)])
            locked.set()
            await release.wait()

    holding = asyncio.ensure_future(user())
    try:
        await locked.wait()
        batch: list[Change] = [moved(held), moved(free), Note(run_id="nobody", version=1, skipped=True)]
        verdicts = [outcome.verdict for outcome in await subject.records.store(batch)]
        assert verdicts == [Verdict.BUSY, Verdict.APPLIED, Verdict.CONFLICT]
        assert await one(subject.records, "held") == held
    finally:
        release.set()
        await holding
    assert (await one(subject.records, "held")).version == 2
    (outcome,) = await settled(subject.records, batch[0])
    assert outcome.verdict is Verdict.CONFLICT, "judged once the row is free"


@case("design 4.1: a batch never waits", needs=JOINS)
async def a_creation_does_not_wait_for_a_foreign_id_that_a_users_transaction_holds(subject: Subject) -> None:
    locked, release = asyncio.Event(), asyncio.Event()

    async def user() -> None:
        async with subject.factory.transaction(subject.backend):
            await subject.records.store([created("theirs", "shared")])
            locked.set()
            await release.wait()

    holding = asyncio.ensure_future(user())
    try:
        await locked.wait()
        ours, free = await subject.records.store([created("ours", "shared"), created("free")])
        assert ours.verdict is Verdict.BUSY, ours
        assert free.verdict in (Verdict.APPLIED, Verdict.BUSY), free
        assert not await subject.records.lookup(["ours", "theirs"])
    finally:
        release.set()
        await holding
    (outcome,) = await settled(subject.records, created("ours", "shared"))
    assert outcome.verdict is Verdict.IN_PROGRESS, outcome


@case("contract: joined", needs=JOINS)
async def outside_of_a_users_transaction_nothing_is_joined(subject: Subject) -> None:
    assert not _joined(subject)
    await put(subject.records, created("run"))
    assert not _joined(subject)
