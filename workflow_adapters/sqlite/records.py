"""Records, their history, the outbox and the dead letters."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from workflow.protocols import (
    Change,
    DeadLetter,
    Mark,
    NewVersion,
    OutboxPage,
    Outcome,
    Record,
    RecordQuery,
    RecordStore,
    StalledQuery,
)

from .changes import store
from .database import Database
from .queries import AUTO_PAUSED, FOUND, HISTORY, PASSED, latest, listing, lookup, outbox, sound, stalled
from .rows import check, decode_record, encode, micros, record

_decode_letter = msgspec.msgpack.Decoder(DeadLetter).decode


class SQLiteRecordStore(RecordStore):
    """Records in a file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[str, int] = {}

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Apply each change whose expected version is the present one; all in one transaction."""
        for change in changes:
            check(change)
        on_commit = any(isinstance(change, NewVersion) and change.on_commit for change in changes)
        workflows = {change.event.workflow_name for change in changes if not isinstance(change, Mark)}
        wakes = [("outbox", name) for name in workflows]
        return await self._database.write(lambda c: store(c, changes), wakes=wakes, alone=on_commit, lazy=not workflows)

    async def lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        """The present records."""
        return await self._database.read(lambda c: lookup(c, run_ids))

    async def latest(self, workflow_name: str, foreign_id: str) -> Record | None:
        """The live run, else the last created."""
        return await self._database.read(lambda c: latest(c, workflow_name, foreign_id))

    async def list(self, query: RecordQuery) -> Sequence[Record]:
        """The records that match, in order of creation."""
        sql, arguments = listing(query)
        return await self._database.read(lambda c: [record(row) for row in c.execute(sql, arguments)])

    async def history(self, run_id: str) -> Sequence[Record]:
        """Every version."""
        return await self._database.read(lambda c: [decode_record(data) for (data,) in c.execute(HISTORY, (run_id,))])

    async def passed(self, run_id: str, status: int) -> int | None:
        """The first version with this status."""
        return await self._database.read(lambda c: c.execute(PASSED, (run_id, status)).fetchone()[0])

    async def find_attempt(self, run_id: str, attempt_id: str) -> int | None:
        """The version this attempt wrote."""
        return await self._database.read(lambda c: c.execute(FOUND, (run_id, attempt_id)).fetchone()[0])

    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        """What may be sent."""
        page, broken = await self._database.read(lambda c: outbox(c, workflow_name, micros(now), limit))
        if broken:
            await self._database.write(lambda c: _bury_rows(c, workflow_name, broken, now))
        return page

    async def delete_outbox(self, ids: Sequence[str]) -> None:
        """Remove events."""
        rows = [(int(id_),) for id_ in ids]
        await self._database.write(lambda c: c.executemany("delete from outbox where id = ?", rows).rowcount, lazy=True)

    async def wait_for_outbox(self, workflow_name: str) -> None:
        """Return when something may have been written since the last return."""
        seen = self._seen.get(workflow_name, 0)
        self._seen[workflow_name] = await self._database.signals.wait("outbox", workflow_name, seen)

    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        """Stalled records, the one due longest ago first."""
        return await self._database.read(lambda c: stalled(c, query))

    async def list_auto_paused(self, workflow_name: str, *, paused_before: datetime, limit: int) -> Sequence[Record]:
        """Records that the engine paused, oldest first."""
        arguments = (workflow_name, micros(paused_before), limit)
        return await self._database.read(lambda c: list(sound(c.execute(AUTO_PAUSED, arguments))))

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters."""
        await self._database.write(lambda c: _bury(c, letters))

    async def dead_letters(self, workflow_name: str, *, limit: int = 100) -> Sequence[DeadLetter]:
        """The dead letters, oldest first."""
        sql = "select id, data from dead_letters where workflow_name = ? order by id limit ?"

        def work(connection: sqlite3.Connection) -> list[DeadLetter]:
            rows = connection.execute(sql, (workflow_name, limit))
            return [replace(_decode_letter(data), id=str(number)) for number, data in rows]

        return await self._database.read(work)


def _bury_rows(
    connection: sqlite3.Connection, workflow_name: str, rows: list[tuple[int, bytes]], now: datetime
) -> None:
    letters = [
        DeadLetter(workflow_name=workflow_name, source="outbox", data=data, reason="it does not decode", created_at=now)
        for _, data in rows
    ]
    _bury(connection, letters)
    connection.executemany("delete from outbox where id = ?", [(number,) for number, _ in rows])


def _bury(connection: sqlite3.Connection, letters: Sequence[DeadLetter]) -> None:
    rows = [(letter.workflow_name, letter.run_id, encode(letter)) for letter in letters]
    connection.executemany("insert into dead_letters (workflow_name, run_id, data) values (?, ?, ?)", rows)
