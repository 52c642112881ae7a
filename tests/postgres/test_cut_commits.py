"""The connection is cut at every message of a commit, before, within and after it: the outcome is never wrong."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import msgspec
import pytest

from tests.postgres.database import Database, User
from tests.postgres.proxy import TO_CLIENT, TO_SERVER, Point, Proxy
from workflow.errors import OutcomeUnknown, Unavailable
from workflow.protocols import Change, NewVersion, Note, RecordStore, Verdict
from workflow_adapters.conformance._values import created, moved, one, put, settled

LANES = {"one statement": "commits", "a transaction": "commits", "with the user's rows": "on_commit"}


class _Subject:
    """A run, and how it is moved on."""

    def __init__(self, kind: str, database: Database, user: User, proxy: Proxy, store: RecordStore) -> None:
        self.kind, self.database, self.user, self.proxy, self.store = kind, database, user, proxy, store
        self.lane = LANES[kind]
        self.beside, self.record = created("beside").record, created("run").record

    def changes(self, move: NewVersion) -> Sequence[Change]:
        if self.kind == "a transaction":
            return [move, Note(run_id="beside", version=1, timers_armed=True)]
        if self.kind == "with the user's rows":
            return [msgspec.structs.replace(move, on_commit=(self._write(move.record.version),))]
        return [move]

    def _write(self, version: int) -> object:
        async def write(connection: asyncpg.Connection) -> None:
            await connection.execute(f"insert into {self.database.table('business')} values ($1)", version)

        return write

    async def move_on(self) -> None:
        """Undisturbed."""
        outcomes = await settled(self.store, *self.changes(moved(self.record)))
        assert all(outcome.ok for outcome in outcomes)
        self.record = await one(self.store, "run")

    async def nobody_commits(self) -> None:
        """Wait until the server has noticed that the connection is gone: until then it may still be committing."""
        async with asyncio.timeout(10):
            while f"workflow {self.lane}" in await self.user.connections():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def _subject(kind: str, database: Database) -> AsyncIterator[_Subject]:
    async with database.user() as user, Proxy(user.url) as proxy, database.backend(proxy.url) as backend:
        await database.beside.execute(f"create table {database.table('business')} (version integer)")
        subject = _Subject(kind, database, user, proxy, backend.record_store)
        await put(backend.record_store, created("run"), created("beside"))
        yield subject


def _points(counts: Counter[str]) -> Iterator[Point]:
    """Before, within and after each message of a commit."""
    for direction in (TO_SERVER, TO_CLIENT):
        for message in range(counts[direction]):
            yield from (Point(direction, message, share) for share in (0.0, 0.5, 1.0))


async def _cut_at(subject: _Subject, point: Point) -> str:
    """Move on while the connection is cut there; what the store said, and what was true."""
    await subject.move_on()  # on a connection that is open and knows its statements
    before, move = subject.record, moved(subject.record)
    subject.proxy.watch(subject.lane, point)
    struck = subject.proxy.struck
    (said,) = await asyncio.gather(subject.store.store(subject.changes(move)), return_exceptions=True)
    assert subject.proxy.struck == struck + 1, point
    await subject.nobody_commits()
    written = await one(subject.store, "run") == move.record
    assert written or await one(subject.store, "run") == before
    if isinstance(said, Unavailable):
        assert not written, f"{point}: Unavailable means that nothing was written"
    elif not isinstance(said, OutcomeUnknown):
        assert not isinstance(said, BaseException), f"{point}: {said!r}"
        # A connection that is lost while the user's function runs is a failed attempt, if there was no outage.
        verdicts = {outcome.verdict for outcome in said}
        assert written == all(outcome.ok for outcome in said), (point, said)
        assert written or (subject.lane == "on_commit" and verdicts == {Verdict.REFUSED}), (point, said)
    outcome = (await settled(subject.store, *subject.changes(move)))[0]
    assert outcome.verdict is (Verdict.ALREADY_APPLIED if written else Verdict.APPLIED), point
    subject.record = await one(subject.store, "run")
    assert subject.record == move.record
    return f"{'nothing said' if not isinstance(said, BaseException) else type(said).__name__}, {written=}"


async def _versions(subject: _Subject) -> None:
    """Every version is there once: in the history, in the outbox, and among the user's rows."""
    versions = list(range(1, subject.record.version + 1))
    assert [row.version for row in await subject.store.history("run")] == versions
    sql = f"select event ->> 'version' from {subject.database.table('readable_outbox')} where event ->> 'run_id' = $1"
    rows = await subject.database.beside.fetch(f"{sql} order by id", "run")
    assert [int(row[0]) for row in rows] == versions
    if subject.kind == "with the user's rows":
        rows = await subject.database.beside.fetch(f"select version from {subject.database.table('business')}")
        assert sorted(row[0] for row in rows) == versions[1:]


@pytest.mark.parametrize("kind", LANES)
async def test_a_commit_that_is_cut_anywhere_is_written_once(database: Database, kind: str) -> None:
    async with _subject(kind, database) as subject:
        await subject.move_on()
        subject.proxy.watch(subject.lane)
        await subject.move_on()
        points = list(_points(Counter(subject.proxy.counts)))
        assert len(points) >= 20, points
        seen = Counter([await _cut_at(subject, point) for point in points])
        assert {"OutcomeUnknown, written=False", "OutcomeUnknown, written=True"} <= set(seen), seen
        await _versions(subject)
