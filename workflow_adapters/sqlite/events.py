"""Events in a table, cursors beside it, and one reading of the table for all receivers of the process.

Writers take turns on a SQLite file, so positions become visible in order and a reader that goes by position skips
nothing. The tail reads what is new once and hands it to the receivers of each topic; a receiver that opens, or fell
far behind, reads from its cursor until it has caught up with the tail.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from workflow.errors import EventsRefused, WorkflowError
from workflow.protocols import Event, EventReceiver, EventStreamer, Shard, partition_of

from ..memory.signal import Signal
from .database import Database
from .rows import encode, micros, moment
from .schema import PARTITIONS

_decode = msgspec.msgpack.Decoder(Event).decode
_log = logging.getLogger("workflow.sqlite")

ACK_DELAY = 0.2
"""Seconds that acknowledgements of all receivers are collected for one write."""
READ = 2000
"""Events the tail reads at once."""
AHEAD = 20_000
"""Events handed to a receiver that it has not taken; beyond that it reads from the table again."""
TRIM_EVERY = 600.0
TRIM = 5000

SEND = "insert into events (topic, partition, created, data) values (?, ?, ?, ?)"
TAIL = "select position, topic, partition, data from events where position > ? order by position limit ?"
CATCH_UP = """
select position, partition, data from events where topic = ? and partition = ? and position > ?
order by position limit ?
"""
END = "select coalesce((select seq from sqlite_sequence where name = 'events'), 0)"
CURSORS = "select partition, position from cursors where topic = ? and name = ?"
ACK = """
insert into cursors (topic, name, partition, position) values (?, ?, ?, ?)
on conflict do update set position = excluded.position
    where excluded.position > position
        or position > coalesce((select seq from sqlite_sequence where name = 'events'), 0)
"""
OLDEST = "select created from events where topic = ? and partition = ? and position > ? order by position limit 1"
# Old events that every cursor of their topic has passed; a topic nobody reads is kept by nobody.
TRIM_OLD = """
delete from events where position in (
    select position from events e where created < ? and not exists (
        select 1 from cursors c where c.topic = e.topic and c.partition = e.partition and c.position < e.position)
    limit ?)
"""


class SQLiteEventStreamer(EventStreamer):
    """The stream of one file."""

    def __init__(self, database: Database, retention: timedelta) -> None:
        self._database, self._retention = database, retention
        self._receivers: dict[str, set[_Receiver]] = {}
        self._acks: dict[tuple[str, str, int], int] = {}
        self._flushing: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.partitions = PARTITIONS
        self.read_to = 0

    async def __aenter__(self) -> Self:
        self.partitions = self._database.partitions
        self.read_to = await self._database.read(_end)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._tail()), loop.create_task(self._trim())]
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._writing, return_exceptions=True)
        try:
            await self.flush()
        except WorkflowError as error:
            _log.warning("acknowledgements are lost, their events come again: %s", error)

    async def send(self, events: Sequence[Event]) -> None:
        """Append the events."""
        rows, refused = self._rows(events)
        if rows:
            await self._database.write(lambda c: c.executemany(SEND, rows).rowcount, wakes=[("events", "")])
        if refused:
            raise EventsRefused("it cannot be encoded", refused)

    def _rows(self, events: Sequence[Event]) -> tuple[list[tuple[Any, ...]], tuple[int, ...]]:
        rows: list[tuple[Any, ...]] = []
        refused = []
        for index, e in enumerate(events):
            try:
                rows.append((e.topic, partition_of(e.run_id, self.partitions), micros(e.created_at), encode(e)))
            except UnicodeEncodeError:
                refused.append(index)
        return rows, tuple(refused)

    def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AbstractAsyncContextManager[EventReceiver]:
        """Open a reading."""
        return self._open(topic, name, shard, from_latest)

    @asynccontextmanager
    async def _open(self, topic: str, name: str, shard: Shard, from_latest: bool) -> AsyncIterator[EventReceiver]:
        await self.flush()
        partitions = shard.partitions(self.partitions)
        positions = await self._database.read(lambda c: _positions(c, topic, name, partitions, from_latest))
        if name and from_latest:
            self.ack(topic, name, positions)
            await self.flush()
        receiver = _Receiver(self, self._database, topic, name, positions)
        readers = self._receivers.setdefault(topic, set())
        readers.add(receiver)
        try:
            yield receiver
        finally:
            readers.discard(receiver)
            if name:
                await self.flush()

    async def lag(self, topic: str, name: str) -> datetime | None:
        """The oldest event beyond the cursors."""
        pending = {p: position for (t, n, p), position in self._acks.items() if (t, n) == (topic, name)}
        oldest = await self._database.read(lambda c: _oldest(c, topic, name, self.partitions, pending))
        return None if oldest is None else moment(oldest)

    def ack(self, topic: str, name: str, positions: dict[int, int]) -> None:
        """Note how far a consumer is; written soon, together with others."""
        for partition, position in positions.items():
            key = (topic, name, partition)
            self._acks[key] = max(position, self._acks.get(key, 0))
        if self._flushing is None and positions:
            self._flushing = asyncio.get_running_loop().call_later(ACK_DELAY, self._flush_soon)

    def _flush_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self._flush_quietly())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _flush_quietly(self) -> None:
        try:
            await self.flush()
        except WorkflowError as error:
            # The acknowledgements are kept and go with the next ones; until then events may come twice.
            _log.warning("acknowledgements are late: %s", error)
            self._flushing = asyncio.get_running_loop().call_later(1.0, self._flush_soon)

    async def flush(self) -> None:
        """Write the acknowledgements that wait."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if not self._acks:
            return
        acks, self._acks = self._acks, {}
        rows = [(*key, position) for key, position in acks.items()]
        try:
            await self._database.write(lambda c: c.executemany(ACK, rows).rowcount, lazy=True)
        except WorkflowError:
            for key, position in acks.items():
                self._acks[key] = max(position, self._acks.get(key, 0))
            raise

    async def _tail(self) -> None:
        seen = self._database.signals.signal("events").count
        while True:
            try:
                found = await self._database.read(lambda c: c.execute(TAIL, (self.read_to, READ)).fetchall())
            except Exception as error:  # noqa: BLE001 - reported; every receiver of the process hangs on this task
                _log.warning("events cannot be read: %r", error)
                await asyncio.sleep(1.0)
                continue
            self._dispatch(found)
            if len(found) < READ:
                seen = await self._database.signals.wait("events", "", seen)

    def _dispatch(self, rows: list[tuple[int, str, int, bytes]]) -> None:
        for position, topic, partition, data in rows:
            self.read_to = position
            receivers = self._receivers.get(topic)
            if not receivers:
                continue
            event = _event(data, partition, position)
            if event is not None:
                for receiver in receivers:
                    receiver.push(event)

    async def _trim(self) -> None:
        while True:
            await asyncio.sleep(TRIM_EVERY)
            try:
                while await self._database.write(self._trim_page) == TRIM:
                    await asyncio.sleep(1.0)
            except Exception as error:  # noqa: BLE001 - reported; else the file would grow for ever
                _log.warning("old events are kept for now: %r", error)

    def _trim_page(self, connection: sqlite3.Connection) -> int:
        (now,) = connection.execute("select cast(unixepoch('subsec') * 1000000 as integer)").fetchone()
        if now is None:
            (now,) = connection.execute("select cast(strftime('%s', 'now') as integer) * 1000000").fetchone()
        return connection.execute(TRIM_OLD, (now - int(self._retention.total_seconds() * 1e6), TRIM)).rowcount


class _Receiver(EventReceiver):
    """Catches up from the table, then takes what the tail pushes."""

    def __init__(
        self, stream: SQLiteEventStreamer, database: Database, topic: str, name: str, positions: dict[int, int]
    ) -> None:
        self._stream, self._database = stream, database
        self._topic, self._name, self._positions = topic, name, positions
        self._pushed: deque[Event] = deque()
        self._arrived = Signal()
        self._behind = True

    def push(self, event: Event) -> None:
        """An event the tail has read."""
        if event.partition not in self._positions or (self._behind and len(self._pushed) > AHEAD):
            return
        if len(self._pushed) > AHEAD:
            # Too far behind to keep in memory: read from the table again.
            self._pushed.clear()
            self._behind = True
        self._pushed.append(event)
        self._arrived.set()

    async def receive(self, limit: int) -> Sequence[Event]:
        """What is beyond the positions."""
        while True:
            while self._behind:
                if caught := await self._catch_up(limit):
                    return caught
            seen = self._arrived.count
            if taken := self._take(limit):
                return taken
            await self._arrived.wait_beyond(seen)

    def _take(self, limit: int) -> list[Event]:
        taken: list[Event] = []
        while self._pushed and len(taken) < limit:
            event = self._pushed.popleft()
            if event.position > self._positions[event.partition]:
                self._positions[event.partition] = event.position
                taken.append(event)
        return taken

    async def _catch_up(self, limit: int) -> list[Event]:
        self._pushed.clear()
        positions = dict(self._positions)
        rows = await self._database.read(lambda c: _beyond(c, self._topic, positions, limit))
        if len(rows) < limit and len(self._pushed) <= AHEAD:
            # Everything committed before this read is in hand; what came since is pushed, or will be.
            self._behind = False
        for position, partition, _ in rows:
            self._positions[partition] = position
        events = (_event(data, partition, position) for position, partition, data in rows)
        return [event for event in events if event is not None]

    async def ack(self, events: Sequence[Event]) -> None:
        """NewVersion the cursors, forward only, soon."""
        if self._name:
            positions: dict[int, int] = {}
            for event in events:
                positions[event.partition] = max(event.position, positions.get(event.partition, 0))
            self._stream.ack(self._topic, self._name, positions)


def _event(data: bytes, partition: int, position: int) -> Event | None:
    """The event of a row; None, reported, for one that does not decode: the sweeper finds the run that it was about."""
    try:
        return replace(_decode(data), partition=partition, position=position)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _log.error("event %d does not decode and is passed over: %s", position, error)
        return None


def _end(connection: sqlite3.Connection) -> int:
    return int(connection.execute(END).fetchone()[0])


def _positions(
    connection: sqlite3.Connection, topic: str, name: str, partitions: Sequence[int], from_latest: bool
) -> dict[int, int]:
    end = _end(connection)
    stored: dict[int, int] = dict(connection.execute(CURSORS, (topic, name)).fetchall()) if name else {}
    start = end if from_latest or not name else 0
    found = {partition: stored.get(partition, start) for partition in partitions}
    # A cursor beyond the end belongs to a stream that was lost: start over.
    return {partition: position if position <= end else 0 for partition, position in found.items()}


def _beyond(
    connection: sqlite3.Connection, topic: str, positions: dict[int, int], limit: int
) -> list[tuple[int, int, bytes]]:
    rows: list[tuple[int, int, bytes]] = []
    for partition, position in positions.items():
        rows += connection.execute(CATCH_UP, (topic, partition, position, limit - len(rows)))
        if len(rows) >= limit:
            break
    return rows


def _oldest(
    connection: sqlite3.Connection, topic: str, name: str, partitions: int, pending: dict[int, int]
) -> int | None:
    stored: dict[int, int] = dict(connection.execute(CURSORS, (topic, name)).fetchall())
    oldest: list[Any] = []
    for partition in range(partitions):
        position = max(stored.get(partition, 0), pending.get(partition, 0))
        row = connection.execute(OLDEST, (topic, partition, position)).fetchone()
        if row is not None:
            oldest.append(row[0])
    return min(oldest, default=None)
