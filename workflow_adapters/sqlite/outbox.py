"""The outbox in a table."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

import msgspec

from workflow.protocols import DeadLetter, Event, Outbox, OutboxEvent, OutboxInfo, OutboxPage

from ..kit.outbox_page import fair_page, most_immediate
from .database import Database
from .dead_letters import insert_letters
from .rows import micros, moment

_decode_event = msgspec.msgpack.Decoder(Event).decode

COUNTED = 10_000
"""Where counting stops."""

IMMEDIATE = "select id, due, data from outbox where workflow_name = ? and due is null order by id limit ?"
DELAYED = "select id, due, data from outbox where workflow_name = ? and due <= ? order by due, id limit ?"
AHEAD = "select min(due) from outbox where workflow_name = ? and due > ?"
_Row = tuple[int, int | None, bytes]


class SQLiteOutbox(Outbox):
    """The outboxes of a file."""

    def __init__(self, database: Database) -> None:
        self._outbox_file = database

    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        """The events that may be sent."""
        page, broken = await self._outbox_file.read(lambda c: _page(c, workflow_name, micros(now), limit))
        if broken:
            await self._outbox_file.write(lambda c: _put_aside(c, workflow_name, broken, now))
        return page

    async def delete_outbox(self, ids: Sequence[str]) -> None:
        """Remove events."""
        rows = [(int(id_),) for id_ in ids]
        delete = "delete from outbox where id = ?"
        await self._outbox_file.write(lambda c: c.executemany(delete, rows).rowcount, lazy=True)

    async def outbox_info(self, workflow_name: str, *, now: datetime) -> OutboxInfo:
        """How much waits."""
        return await self._outbox_file.read(lambda c: _info(c, workflow_name, micros(now)))


def _page(
    connection: sqlite3.Connection, workflow_name: str, now: int, limit: int
) -> tuple[OutboxPage, list[tuple[int, bytes]]]:
    """The page, and the rows that do not decode."""
    due: list[_Row] = connection.execute(DELAYED, (workflow_name, now, limit)).fetchall()
    at_once: list[_Row] = connection.execute(IMMEDIATE, (workflow_name, most_immediate(limit, len(due)))).fetchall()
    chosen = fair_page(at_once, due, limit)
    events, broken = [], []
    for number, due_at, data in chosen:
        try:
            event = _decode_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            broken.append((number, data))
            continue
        events.append(OutboxEvent(id=str(number), event=event, due_at=None if due_at is None else moment(due_at)))
    taken = {number for number, _, _ in chosen}
    left = next((due_at for number, due_at, _ in due if number not in taken), None)
    (upcoming,) = connection.execute(AHEAD, (workflow_name, now)).fetchone()
    following = upcoming if left is None else left
    return OutboxPage(tuple(events), None if following is None else moment(following)), broken


def _put_aside(
    connection: sqlite3.Connection, workflow_name: str, rows: list[tuple[int, bytes]], now: datetime
) -> None:
    letters = [
        DeadLetter(workflow_name=workflow_name, source="outbox", data=data, reason="it does not decode", created_at=now)
        for _, data in rows
    ]
    insert_letters(connection, letters)
    connection.executemany("delete from outbox where id = ?", [(number,) for number, _ in rows])


def _info(connection: sqlite3.Connection, workflow_name: str, now: int) -> OutboxInfo:
    def number(condition: str, *arguments: int) -> int:
        statement = f"select count(*) from (select 1 from outbox where workflow_name = ? and {condition} limit ?)"  # noqa: S608
        found: int = connection.execute(statement, (workflow_name, *arguments, COUNTED)).fetchone()[0]
        return found

    ready = min(number("due is null") + number("due <= ?", now), COUNTED)
    first = [
        connection.execute(IMMEDIATE, (workflow_name, 1)).fetchone(),
        connection.execute(DELAYED, (workflow_name, now, 1)).fetchone(),
    ]
    moments = [created for row in first if row is not None and (created := _created(row[2])) is not None]
    return OutboxInfo(ready=ready, delayed=number("due > ?", now), oldest=min(moments, default=None))


def _created(data: bytes) -> datetime | None:
    try:
        return _decode_event(data).created_at
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
