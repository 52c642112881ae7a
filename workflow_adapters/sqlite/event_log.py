"""The table of events as the tail and its receivers read it.

Writers take turns on a SQLite file, so positions become visible in order and a reader that goes by position skips
nothing.
"""

import logging
import sqlite3
from collections.abc import Collection, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from workflow.protocols import Event

from ..kit.event_log import EventLog, LogRow, News
from .database import Database

__all__ = ["LAST_POSITION", "SQLiteEventLog"]

_decode = msgspec.msgpack.Decoder(Event).decode
_log = logging.getLogger("workflow.sqlite")

_PAGE = 2000
"""Events that the tail reads at once."""

LAST_POSITION = "coalesce((select seq from sqlite_sequence where name = 'events'), 0)"
"""SQL for the position of the last event that was sent."""

_END = f"select {LAST_POSITION}"
# All topics: most of what is new is for a receiver of this process.
_NEWS = "select position, partition, topic, data from events where position > ? order by position limit ?"
_BEYOND = """
select position, partition, topic, data from events where topic = ? and partition = ? and position > ?
order by position limit ?
"""


class SQLiteEventLog(EventLog):
    """Reads the events of a file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def end(self) -> int:
        """The position of the last event."""
        return await self._database.read(lambda c: int(c.execute(_END).fetchone()[0]))

    async def news(self, after: int, topics: Collection[str]) -> News:
        """One page of the events of all topics behind a position."""
        found = await self._database.read(lambda c: c.execute(_NEWS, (after, _PAGE)).fetchall())
        rows = [LogRow(*row) for row in found]
        return News(rows, rows[-1].position if rows else after, len(rows) == _PAGE)

    async def beyond(self, topic: str, positions: Mapping[int, int], limit: int) -> Sequence[LogRow]:
        """Events of a topic behind a position in each partition."""

        def read(connection: sqlite3.Connection) -> list[LogRow]:
            # One moment for all partitions.
            connection.execute("begin")
            try:
                return [
                    LogRow(*row)
                    for partition, position in positions.items()
                    for row in connection.execute(_BEYOND, (topic, partition, position, limit))
                ]
            finally:
                connection.execute("rollback")

        return sorted(await self._database.read(read), key=lambda row: row.position)

    def decode(self, row: LogRow) -> Event | None:
        """The event of a row; the sweeper finds the run of one that does not decode."""
        try:
            return replace(_decode(row.data), partition=row.partition, position=row.position)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.error("event %d does not decode and is passed over: %s", row.position, error)
            return None
