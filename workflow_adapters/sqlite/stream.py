"""The rows of the stream: topics, events, cursors, and what may be forgotten.

A partition of a topic is a stream, numbered topic * partitions + partition, so that rows and indexes stay small.
Positions count over the whole file; the last event is never deleted, so no position is given twice.
"""

import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from workflow._event import Event

_decode = msgspec.msgpack.Decoder(Event).decode
_log = logging.getLogger("workflow.sqlite")

SEND = "insert into events (stream, created, data) values (?, ?, ?)"
TAIL = "select position, stream, data from events where position > ? order by position limit ?"
CATCH_UP = "select position, stream, data from events where stream = ? and position > ? order by position limit ?"
END = "select coalesce(max(position), 0) from events"
OLDEST = "select created from events where stream = ? and position > ? order by position limit 1"
CURSORS = "select stream, position from cursors where stream >= ? and stream < ? and name = ?"
ACK = """
insert into cursors (stream, name, position) values (?, ?, ?)
on conflict do update set position = excluded.position
    where excluded.position > position or position > (select coalesce(max(position), 0) from events)
"""
OLD = """
select position, stream, created from events
where position > ? and position < (select max(position) from events) order by position limit ?
"""


class Page(NamedTuple):
    """Old events, looked at in order: which nobody needs, where to look next (None: all old ones were seen)."""

    needless: list[int]
    next: int | None


def topic_ids(connection: sqlite3.Connection, names: Iterable[str]) -> dict[str, int]:
    """The numbers of those topics that have one."""
    found = {}
    for name in names:
        row = connection.execute("select id from topics where name = ?", (name,)).fetchone()
        if row is not None:
            found[name] = int(row[0])
    return found


def new_topics(connection: sqlite3.Connection, names: Sequence[str]) -> dict[str, int]:
    """The numbers of these topics, given where there is none."""
    connection.executemany("insert into topics (name) values (?) on conflict do nothing", [(name,) for name in names])
    return topic_ids(connection, names)


def end(connection: sqlite3.Connection) -> int:
    """The position of the last event."""
    return int(connection.execute(END).fetchone()[0])


def cursors(connection: sqlite3.Connection, topic: int, partitions: int, name: str) -> dict[int, int]:
    """The cursors of a consumer, by stream."""
    first = topic * partitions
    return dict(connection.execute(CURSORS, (first, first + partitions, name)).fetchall())


def start(
    connection: sqlite3.Connection, topic: int, partitions: int, name: str, owned: Sequence[int], from_latest: bool
) -> dict[int, int]:
    """Where a reading of these partitions begins, by stream."""
    last = end(connection)
    stored = cursors(connection, topic, partitions, name) if name else {}
    default = last if from_latest or not name else 0
    found = {topic * partitions + one: stored.get(topic * partitions + one, default) for one in owned}
    # A cursor beyond the end belongs to a stream that was lost: start over.
    return {stream: position if position <= last else 0 for stream, position in found.items()}


def beyond(connection: sqlite3.Connection, positions: Mapping[int, int], limit: int) -> list[tuple[int, int, bytes]]:
    """Events of these streams after these positions."""
    rows: list[tuple[int, int, bytes]] = []
    for stream, position in positions.items():
        rows += connection.execute(CATCH_UP, (stream, position, limit - len(rows)))
        if len(rows) >= limit:
            break
    return rows


def oldest(
    connection: sqlite3.Connection, topic: int, partitions: int, name: str, pending: Mapping[int, int]
) -> int | None:
    """When the oldest event was made that this consumer has not acknowledged."""
    stored = cursors(connection, topic, partitions, name)
    found: list[int] = []
    for stream in range(topic * partitions, (topic + 1) * partitions):
        position = max(stored.get(stream, 0), pending.get(stream, 0))
        row = connection.execute(OLDEST, (stream, position)).fetchone()
        if row is not None:
            found.append(row[0])
    return min(found, default=None)


def old_page(connection: sqlite3.Connection, partitions: int, after: int, before: int, limit: int) -> Page:
    """Events made before a moment that every consumer of their topic has read; a topic without consumers keeps none."""
    consumers: dict[int, dict[str, dict[int, int]]] = {}
    for stream, name, position in connection.execute("select stream, name, position from cursors"):
        consumers.setdefault(stream // partitions, {}).setdefault(name, {})[stream] = position
    rows = connection.execute(OLD, (after, limit)).fetchall()
    needless: list[int] = []
    for position, stream, created in rows:
        if created >= before:
            return Page(needless, None)
        readers = consumers.get(stream // partitions, {}).values()
        if all(cursor.get(stream, 0) >= position for cursor in readers):
            needless.append(position)
    return Page(needless, rows[-1][0] if len(rows) == limit else None)


def forget(connection: sqlite3.Connection, positions: Sequence[int]) -> int:
    """Delete these events."""
    rows = [(position,) for position in positions]
    return connection.executemany("delete from events where position = ?", rows).rowcount


def event(data: bytes, partition: int, position: int) -> Event | None:
    """The event of a row; None, and a line in the log, when it does not decode.

    Nothing is lost with it: the run is the truth, and the sweeper finds runs that no event reaches.
    """
    try:
        return replace(_decode(data), partition=partition, position=position)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _log.error("event at position %d does not decode and is passed over: %s: %r", position, error, data)
        return None
