"""The table of events as the tail and its receivers read it.

Writers take turns on a SQLite file, so positions become visible in order and a reader that goes by position skips
nothing.
"""

import logging
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from workflow.protocols import Event

from ..kit.event_log import EventLog, LogEnd, LogRow, News
from ..kit.text import described
from .database import Database

__all__ = ["LAST_POSITION", "SQLiteEventLog"]

_decode = msgspec.msgpack.Decoder(Event).decode
_log = logging.getLogger("workflow.sqlite")

_PAGE = 2000
"""Events that the tail reads at once."""

LAST_POSITION = "coalesce((select seq from sqlite_sequence where name = 'events'), 0)"
"""SQL for the position of the last event that was sent."""

_END = f"select {LAST_POSITION}, (select data from events where position = {LAST_POSITION})"  # noqa: S608 - constants
# All topics: most of what is new is for a receiver of this process. It begins with the event that was read last.
_NEWS = "select position, partition, topic, data from events where position >= ? order by position limit ?"
_BEYOND = """
select position, partition, topic, data from events where topic = ? and partition = ? and position > ?
order by position limit ?
"""


class SQLiteEventLog(EventLog):
    """Reads the events of a file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def end(self) -> LogEnd:
        """Where it ends now."""
        return await self._database.read(lambda c: LogEnd(*c.execute(_END).fetchone()))

    async def news(self, after: LogEnd, topics: Collection[str]) -> News:
        """One page of the events of all topics behind an end that was read."""

        def read(connection: sqlite3.Connection) -> tuple[list[Any], bool]:
            found = connection.execute(_NEWS, (after.position, _PAGE)).fetchall()
            if found and found[0][0] == after.position:
                return found[1:], after.data is not None and found[0][3] != after.data
            # It was removed because it was old; or this log has not come so far.
            return found, connection.execute(_END).fetchone()[0] < after.position

        found, is_other = await self._database.read(read)
        rows = [LogRow(*row) for row in found]
        end = LogEnd(rows[-1].position, rows[-1].data) if rows else after
        return News(rows, end, len(rows) >= _PAGE - 1, is_other)

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
            _log.error("event %d does not decode and is passed over: %s", row.position, described(error))
            return None
