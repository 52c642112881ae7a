"""Timers in a table."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from workflow.errors import TimeoutNotFound
from workflow.protocols import (
    Page,
    Subscription,
    TimeoutPage,
    TimeoutQuery,
    TimeoutRecord,
    TimeoutStore,
    WakeUp,
    WakeUps,
)

from ..kit.cursor import decode_cursor, encode_cursor
from ..kit.text import check_text
from .database import Database
from .rows import encode, micros, moment
from .signals import local_wake_ups

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
NEXT_STATUS = """
select status from timeouts indexed by timeouts_listed
where workflow_name = ? and completed = ? and status > ? order by status limit 1
"""
_CURSOR = "sqlite:timers"


class SQLiteTimeoutStore(WakeUps, TimeoutStore):
    """The timers of a file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wake_ups = local_wake_ups(database.signals, WakeUp.TIMEOUTS)

    async def create(self, timeouts: Sequence[TimeoutRecord]) -> None:
        """Keep new timers."""
        for timeout in timeouts:
            for field in ("id", "workflow_name", "foreign_id", "run_id", "last_error"):
                check_text(field, getattr(timeout, field))
        rows = [
            (t.id, t.workflow_name, t.status, t.run_id, micros(t.due_at), int(t.completed), encode(t)) for t in timeouts
        ]
        await self._database.write(lambda c: c.executemany(CREATE, rows).rowcount, wakes=_wakes(timeouts))

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        """Due timers, ordered by due time."""
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

    async def list(self, query: TimeoutQuery) -> Page[TimeoutRecord]:
        """One page of the timers that match."""
        return await self._database.read(lambda c: _page(c, query))

    def subscribe(self, kind: WakeUp, workflow_name: str) -> AbstractAsyncContextManager[Subscription]:
        """Hear of timers that any process on this machine writes for this workflow."""
        return self._wake_ups.subscribe(kind, workflow_name)


def _wakes(timeouts: Sequence[TimeoutRecord]) -> list[tuple[str, str]]:
    return [(WakeUp.TIMEOUTS.value, name) for name in {timeout.workflow_name for timeout in timeouts}]


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


def _page(connection: sqlite3.Connection, query: TimeoutQuery) -> Page[TimeoutRecord]:
    where, arguments = "", []
    if query.due_before is not None:
        where += " and due < ?"
        arguments.append(micros(query.due_before))
    if query.cursor is not None:
        where += " and (due, id) > (?, ?)"
        arguments += decode_cursor(_CURSOR, query.cursor, [int, str])
    rows: list[tuple[int, str, bytes]] = []
    for source, of_source in _sources(connection, query):
        statement = f"select due, id, data from timeouts {source}{where} order by due, id limit ?"  # noqa: S608
        rows += connection.execute(statement, (*of_source, *arguments, query.limit + 1))
    rows.sort()
    shown = rows[: query.limit]
    more = encode_cursor(_CURSOR, *shown[-1][:2]) if len(rows) > len(shown) else None
    return Page((_decode(data) for _, _, data in shown), more)


def _sources(connection: sqlite3.Connection, query: TimeoutQuery) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Where rows are read: those of a run, or each status by itself; few statuses have timers."""
    name = query.workflow_name
    if query.run_id is not None:
        only = "" if query.completed else " and completed = 0"
        if query.statuses:
            only += f" and status in ({', '.join('?' * len(query.statuses))})"
        yield (
            f"indexed by timeouts_run where workflow_name = ? and run_id = ?{only}",
            (name, query.run_id, *query.statuses),
        )
        return
    where = "indexed by timeouts_listed where workflow_name = ? and completed = ? and status = ?"
    for completed in (0, 1) if query.completed else (0,):
        for status in query.statuses or _statuses(connection, name, completed):
            yield where, (name, completed, status)


def _statuses(connection: sqlite3.Connection, name: str, completed: int) -> Iterator[int]:
    """The statuses that have such timers, by skipping through the index."""
    status = -(2**63)
    while (row := connection.execute(NEXT_STATUS, (name, completed, status)).fetchone()) is not None:
        (status,) = row
        yield status
