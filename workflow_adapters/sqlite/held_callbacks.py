"""Held callbacks in a table."""

import sqlite3
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from workflow.protocols import HeldCallback, HeldCallbacks, Page, WakeUp

from ..kit.cursor import decode_cursor, encode_cursor
from ..kit.text import check_number, check_text
from .database import Database
from .rows import encode, micros

_decode = msgspec.msgpack.Decoder(HeldCallback).decode
_CURSOR = "sqlite:held callbacks"

REMEMBERED = timedelta(days=2)
"""How long a taken callback is remembered, so that its id is not delivered again."""

INSERT = """
insert into held_callbacks (workflow_name, foreign_id, id, status, expires, data) values (?, ?, ?, ?, ?, ?)
on conflict do nothing
"""
FIND = "select data from held_callbacks where workflow_name = ? and foreign_id = ? and id = ?"
WANTED = """
select number, data from held_callbacks
where workflow_name = ? and foreign_id = ? and status = ? and taken is null order by number limit ?
"""
EXPIRED = """
select data from held_callbacks where workflow_name = ? and expires <= ? and taken is null order by expires limit ?
"""
RELEASE = "delete from held_callbacks where workflow_name = ? and foreign_id = ? and id = ? and taken is null"
FORGET = "delete from held_callbacks where taken < ?"


class SQLiteHeldCallbacks(HeldCallbacks):
    """The held callbacks of a file."""

    def __init__(self, database: Database) -> None:
        self._held_file = database

    async def hold(self, callback: HeldCallback) -> HeldCallback:
        """Keep a callback, unless its id is known."""
        for field in ("id", "workflow_name", "foreign_id", "run_id"):
            check_text(field, getattr(callback, field))
        check_number("status", callback.status)
        wakes = [(WakeUp.HELD_CALLBACKS.value, callback.workflow_name)]
        return await self._held_file.write(lambda c: _hold(c, callback), wakes=wakes)

    async def held(
        self, workflow_name: str, wanted: Sequence[tuple[str, int]], *, limit: int
    ) -> Sequence[HeldCallback]:
        """Held callbacks for these foreign IDs and statuses, oldest first."""

        def work(connection: sqlite3.Connection) -> list[HeldCallback]:
            rows: list[tuple[int, bytes]] = []
            for foreign_id, status in dict.fromkeys(wanted):
                rows += connection.execute(WANTED, (workflow_name, foreign_id, status, limit))
            return [_decode(data) for _, data in sorted(rows)[:limit]]

        return await self._held_file.read(work)

    async def list_held(
        self, workflow_name: str, *, foreign_id: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[HeldCallback]:
        """One page, oldest first."""
        after = 0 if cursor is None else decode_cursor(_CURSOR, cursor, [int])[0]
        of_one = "" if foreign_id is None else " and foreign_id = ?"
        arguments = (workflow_name, *(() if foreign_id is None else (foreign_id,)), after, limit + 1)
        statement = f"""
            select number, data from held_callbacks
            where workflow_name = ?{of_one} and taken is null and number > ? order by number limit ?
        """  # noqa: S608
        rows = await self._held_file.read(lambda c: c.execute(statement, arguments).fetchall())
        shown = rows[:limit]
        more = encode_cursor(_CURSOR, shown[-1][0]) if len(rows) > len(shown) else None
        return Page((_decode(data) for _, data in shown), more)

    async def list_expired(self, workflow_name: str, *, now: datetime, limit: int) -> Sequence[HeldCallback]:
        """Expired ones, the earliest first."""
        arguments = (workflow_name, micros(now), limit)
        rows = await self._held_file.read(lambda c: c.execute(EXPIRED, arguments).fetchall())
        return [_decode(data) for (data,) in rows]

    async def release(self, callbacks: Sequence[HeldCallback]) -> None:
        """Forget held callbacks."""
        rows = [(one.workflow_name, one.foreign_id, one.id) for one in callbacks]
        await self._held_file.write(lambda c: c.executemany(RELEASE, rows).rowcount)


def _hold(connection: sqlite3.Connection, callback: HeldCallback) -> HeldCallback:
    connection.execute(FORGET, (time.time_ns() // 1000 - REMEMBERED // timedelta(microseconds=1),))
    key = (callback.workflow_name, callback.foreign_id, callback.id)
    connection.execute(INSERT, (*key, callback.status, micros(callback.expires_at), encode(callback)))
    return _decode(connection.execute(FIND, key).fetchone()[0])
