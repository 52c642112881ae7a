"""Timers in a table."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from workflow.errors import TimeoutNotFound
from workflow.protocols import TimeoutPage, TimeoutRecord, TimeoutStore

from .database import Database
from .rows import encode, micros, moment, text

_decode = msgspec.msgpack.Decoder(TimeoutRecord).decode

CREATE = """
insert into timeouts (id, workflow_name, status, run_id, due, completed, data) values (?, ?, ?, ?, ?, ?, ?)
on conflict do nothing
"""
UPDATE = "update timeouts set due = ?, completed = ?, data = ? where id = ?"
FIND = "select data from timeouts where id = ?"
DUE = """
select data from timeouts where workflow_name = ? and status = ? and completed = 0 and due <= ? order by due limit ?
"""
NEXT = "select min(due) from timeouts where workflow_name = ? and status = ? and completed = 0"
LIST = "select data from timeouts where workflow_name = ?"
LIST_RUN = "select data from timeouts where workflow_name = ? and run_id = ?"


class SQLiteTimeoutStore(TimeoutStore):
    """The timers of a file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[str, int] = {}

    async def create(self, timeouts: Sequence[TimeoutRecord]) -> None:
        """Keep new timers."""
        for timeout in timeouts:
            for field in ("id", "workflow_name", "foreign_id", "run_id", "last_error"):
                text(field, getattr(timeout, field))
        rows = [
            (t.id, t.workflow_name, t.status, t.run_id, micros(t.due_at), int(t.completed), encode(t)) for t in timeouts
        ]
        await self._database.write(lambda c: c.executemany(CREATE, rows).rowcount, wakes=_wakes(timeouts))

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        """Timers that are due, the one due first first."""
        upcoming = await self._database.read(lambda c: _next_due(c, workflow_name, statuses))
        if upcoming is None or upcoming > micros(now):
            # Nothing to claim: a look costs no write transaction.
            return TimeoutPage((), None if upcoming is None else moment(upcoming))
        return await self._database.write(lambda c: _claim(c, workflow_name, statuses, now, until, limit))

    async def postpone(self, timeouts: Sequence[TimeoutRecord]) -> None:
        """Write when timers are due again."""
        await self._database.write(lambda c: _postpone(c, timeouts), wakes=_wakes(timeouts))

    async def complete(self, ids: Sequence[str]) -> None:
        """Mark timers completed."""
        missing = await self._database.write(lambda c: _complete(c, ids))
        if missing:
            raise TimeoutNotFound(missing[0])

    async def cancel(self, ids: Sequence[str]) -> None:
        """Remove timers."""
        rows = [(id_,) for id_ in ids]
        await self._database.write(lambda c: c.executemany("delete from timeouts where id = ?", rows).rowcount)

    async def list(self, workflow_name: str, *, run_id: str | None = None) -> Sequence[TimeoutRecord]:
        """All timers."""

        def work(connection: sqlite3.Connection) -> list[TimeoutRecord]:
            if run_id is None:
                rows = connection.execute(LIST, (workflow_name,))
            else:
                rows = connection.execute(LIST_RUN, (workflow_name, run_id))
            return sorted((_decode(data) for (data,) in rows), key=lambda timeout: (timeout.expire_at, timeout.id))

        return await self._database.read(work)

    async def wait_for_timeouts(self, workflow_name: str) -> None:
        """Return when a timer may have been written since the last return."""
        seen = self._seen.get(workflow_name, 0)
        self._seen[workflow_name] = await self._database.signals.wait("timeouts", workflow_name, seen)


def _wakes(timeouts: Sequence[TimeoutRecord]) -> list[tuple[str, str]]:
    return [("timeouts", name) for name in {timeout.workflow_name for timeout in timeouts}]


def _next_due(connection: sqlite3.Connection, workflow_name: str, statuses: Sequence[int]) -> int | None:
    found = [connection.execute(NEXT, (workflow_name, status)).fetchone()[0] for status in statuses]
    return min((due for due in found if due is not None), default=None)


def _claim(
    connection: sqlite3.Connection,
    workflow_name: str,
    statuses: Sequence[int],
    now: datetime,
    until: datetime,
    limit: int,
) -> TimeoutPage:
    due: list[TimeoutRecord] = []
    for status in statuses:
        rows = connection.execute(DUE, (workflow_name, status, micros(now), limit))
        due += [_decode(data) for (data,) in rows]
    due.sort(key=lambda timeout: timeout.due_at)
    claimed = [replace(timeout, due_at=until, claims=timeout.claims + 1) for timeout in due[:limit]]
    _update(connection, claimed)
    upcoming = _next_due(connection, workflow_name, statuses)
    return TimeoutPage(tuple(claimed), None if upcoming is None else moment(upcoming))


def _postpone(connection: sqlite3.Connection, timeouts: Sequence[TimeoutRecord]) -> None:
    changed = [
        replace(present, due_at=timeout.due_at, attempt=timeout.attempt, last_error=timeout.last_error)
        for timeout in timeouts
        if (present := _find(connection, timeout.id)) is not None
    ]
    _update(connection, changed)


def _complete(connection: sqlite3.Connection, ids: Sequence[str]) -> list[str]:
    found = {id_: _find(connection, id_) for id_ in ids}
    _update(connection, [replace(timeout, completed=True) for timeout in found.values() if timeout is not None])
    return [id_ for id_, timeout in found.items() if timeout is None]


def _find(connection: sqlite3.Connection, id_: str) -> TimeoutRecord | None:
    row = connection.execute(FIND, (id_,)).fetchone()
    return None if row is None else _decode(row[0])


def _update(connection: sqlite3.Connection, timeouts: Sequence[TimeoutRecord]) -> None:
    rows = [(micros(t.due_at), int(t.completed), encode(t), t.id) for t in timeouts]
    connection.executemany(UPDATE, rows)
