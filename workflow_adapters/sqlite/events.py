"""The event streamer: events in a table, cursors beside it, and one reading of the table for the whole process."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from workflow.errors import EventsRefused
from workflow.protocols import Backlog, Event, EventReceiver, EventStreamer, Shard, partition_of

from ..kit.ack_buffer import AckBuffer, Cursor
from ..kit.receiver import LogReceiver
from ..kit.tail import Tail
from ..kit.text import described
from .database import Database
from .event_log import LAST_POSITION, SQLiteEventLog
from .rows import encode, micros, moment
from .schema import PARTITIONS

__all__ = ["SQLiteEventStreamer"]

_log = logging.getLogger("workflow.sqlite")

TRIM_EVERY = 600.0
"""Seconds between looks for events that may be removed."""
TRIM = 5000
"""Events that are removed in one transaction."""

_COUNTED = 10_000
"""Events of a backlog that are counted at most."""

_SEND = "insert into events (topic, partition, created, data) values (?, ?, ?, ?)"
_END = f"select {LAST_POSITION}"
# A cursor is void if it lies beyond the end, or if another event is in its place: it belongs to a log that was lost.
_CURSORS = f"""
select partition, position, position > {LAST_POSITION} or coalesce(anchor_position = position and exists (
    select 1 from events e where e.position = c.position and e.data <> c.anchor), 0)
from cursors c where topic = ? and name = ?
"""  # noqa: S608 - constants
_FORGET = "delete from cursors where topic = ? and name = ? and partition = ? and position = ?"
# Only forward, except for a cursor beyond the end, which belongs to a log that was lost.
_ACK = f"""
insert into cursors (topic, name, partition, position, anchor_position, anchor)
values (?, ?, ?, ?, ?, (select data from events where position = ?))
on conflict do update set position = excluded.position, anchor_position = excluded.anchor_position,
    anchor = excluded.anchor
    where excluded.position > position or position > {LAST_POSITION}
"""  # noqa: S608 - constants
# The unread events of one consumer in all partitions: how many, and when the first of each partition was made.
_BACKLOG = f"""
with recursive part (number) as (select 0 union all select number + 1 from part where number + 1 < :partitions),
read as (
    select number, coalesce((
        select position from cursors
        where topic = :topic and name = :name and partition = number and position <= {LAST_POSITION}), 0) as position
    from part
)
select sum(unread), min(oldest) from (
    select (select count(*) from (select 1 from events
            where topic = :topic and partition = read.number and position > read.position limit :most)) as unread,
        (select created from events
         where topic = :topic and partition = read.number and position > read.position
         order by position limit 1) as oldest
    from read
)
"""  # noqa: S608 - constants
# Old events that every cursor of their topic has passed; a topic without readers is not kept.
_TRIM_OLD = """
delete from events where position in (
    select position from events e where created < ? and not exists (
        select 1 from cursors c where c.topic = e.topic and c.partition = e.partition and c.position < e.position)
    limit ?)
"""


class SQLiteEventStreamer(EventStreamer):
    """The stream of one file."""

    def __init__(self, database: Database, retention: timedelta) -> None:
        self._database, self._retention = database, retention
        self._partitions = PARTITIONS
        self._events = SQLiteEventLog(database)
        self._tail, self._acks = self._new_readers()
        self._tasks: list[asyncio.Task[None]] = []
        database.signals.on("events", lambda _: self._tail.wake())

    def _new_readers(self) -> tuple[Tail, AckBuffer]:
        """What belongs to one event loop: each entering may be in another."""
        # The database looks whether the file has changed: that is the safety net of the tail.
        return Tail(self._events, None, _log), AckBuffer(self._write_acks, _log)

    async def __aenter__(self) -> Self:
        self._partitions = self._database.partitions
        self._tail, self._acks = self._new_readers()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._tail.follow()), loop.create_task(self._trim())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._acks.close()

    def partitions(self, topic: str) -> int:
        """How many partitions each topic has: the same number for all of them."""
        return self._partitions

    async def send(self, events: Sequence[Event]) -> None:
        """Append the events; see the port."""
        rows: list[tuple[Any, ...]] = []
        refused: list[int] = []
        for index, e in enumerate(events):
            try:
                rows.append((e.topic, partition_of(e.run_id, self._partitions), micros(e.created_at), encode(e)))
            except UnicodeEncodeError:
                refused.append(index)
        if rows:
            await self._database.write(lambda c: c.executemany(_SEND, rows).rowcount, wakes=[("events", "")])
        if refused:
            raise EventsRefused("it cannot be encoded", tuple(refused))

    @asynccontextmanager
    async def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AsyncIterator[EventReceiver]:
        """Open a reading; see the port."""
        # Those of this opening: a reading that lingers must not meet those of the next.
        tail, acks = self._tail, self._acks
        partitions = list(shard.partitions(self._partitions))
        receiver = LogReceiver(topic, name, partitions, self._events, acks)
        # Before the positions are read, so that what is sent meanwhile is handed over and not missed.
        tail.attach(receiver)
        try:
            await self._begin(receiver, partitions, from_latest=from_latest)
            yield receiver
        finally:
            tail.detach(receiver)
            if name:
                await acks.flush()

    async def _begin(self, receiver: LogReceiver, partitions: Sequence[int], *, from_latest: bool) -> None:
        # Acknowledgements of this name that wait here belong to the cursor that is read now.
        await self._acks.flush()
        topic, name = receiver.topic, receiver.name
        cursors, end, void = await self._database.read(lambda c: _cursors(c, topic, name))
        if void:
            # Without a cursor, reading starts at the earliest event.
            rows = [(topic, name, partition, cursors.pop(partition)) for partition in void]
            await self._database.write(lambda c: c.executemany(_FORGET, rows).rowcount)
        fresh = end if from_latest or not name else 0
        receiver.start({partition: cursors.get(partition, fresh) for partition in partitions}, end=end)
        if from_latest and name:
            # From now on it has a cursor: what is sent from here on is its backlog.
            for partition in partitions:
                if partition not in cursors:
                    self._acks.move(topic, name, partition, end)
            await self._acks.flush()

    async def backlog(self, consumers: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Backlog]:
        """For each pair of topic and consumer name, the events that it has not acknowledged; counts up to 10,000."""
        await self._acks.flush()
        return await self._database.read(
            lambda c: {pair: _backlog(c, *pair, self._partitions) for pair in dict.fromkeys(consumers)}
        )

    async def _write_acks(self, positions: Mapping[Cursor, int]) -> None:
        rows = [(*cursor, position, position, position) for cursor, position in positions.items()]
        await self._database.write(lambda c: c.executemany(_ACK, rows).rowcount, lazy=True)

    async def _trim(self) -> None:
        while True:
            await asyncio.sleep(TRIM_EVERY)
            try:
                while await self._database.write(self._trim_page) == TRIM:
                    await asyncio.sleep(1.0)
            except Exception as error:  # noqa: BLE001 - reported; otherwise the file would grow for ever
                _log.warning("old events are kept for now: %s", described(error))

    def _trim_page(self, connection: sqlite3.Connection) -> int:
        (now,) = connection.execute("select cast(unixepoch('subsec') * 1000000 as integer)").fetchone()
        if now is None:
            (now,) = connection.execute("select cast(strftime('%s', 'now') as integer) * 1000000").fetchone()
        return connection.execute(_TRIM_OLD, (now - int(self._retention.total_seconds() * 1e6), TRIM)).rowcount


def _cursors(connection: sqlite3.Connection, topic: str, name: str) -> tuple[dict[int, int], int, list[int]]:
    """The stored cursors, how far the log reaches, and the partitions whose cursor belongs to a log that was lost.

    The end comes last, so that it is not before a cursor.
    """
    rows = connection.execute(_CURSORS, (topic, name)).fetchall() if name else []
    end = int(connection.execute(_END).fetchone()[0])
    return {row[0]: row[1] for row in rows}, end, [row[0] for row in rows if row[2]]


def _backlog(connection: sqlite3.Connection, topic: str, name: str, partitions: int) -> Backlog:
    arguments = {"topic": topic, "name": name, "partitions": partitions, "most": _COUNTED}
    unread, oldest = connection.execute(_BACKLOG, arguments).fetchone()
    return Backlog(events=min(unread, _COUNTED), oldest=None if oldest is None else moment(oldest))
