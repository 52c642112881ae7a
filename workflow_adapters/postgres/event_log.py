"""The log table as the tail and its receivers read it.

Numbers become visible in order (see `events`), so a reader that goes by position skips nothing.
"""

import logging
from collections.abc import Collection, Mapping, Sequence

import msgspec

from workflow.protocols import Event

from ..kit.event_log import EventLog, LogRow, News
from .lane import Lane
from .names import quoted
from .rows import decode_event

__all__ = ["PostgresEventLog"]

_PAGE = 2_000

_log = logging.getLogger("workflow.postgres")

_END = "select coalesce(max(position), 0) from {schema}.events"

# What lies behind a position in these topics, and, of the same moment, how far the log reaches.
_NEWS = """
select position, partition, topic, event from (
    select position, partition, topic, event from {schema}.events
    where position > $1 and topic = any($2::text[]) order by position limit $3
) as news
union all
select max(position), null, null, null from {schema}.events
"""

_BEYOND = """
select e.position, e.partition, e.topic, e.event from unnest($2::smallint[], $3::bigint[]) as p (number, after)
cross join lateral (
    select position, partition, topic, event from {schema}.events
    where topic = $1 and partition = p.number and position > p.after order by position limit $4
) as e order by e.position
"""


class PostgresEventLog(EventLog):
    """Reads the log table of one schema."""

    def __init__(self, lane: Lane, schema: str) -> None:
        name = quoted(schema)
        self._lane = lane
        self._end_sql, self._news_sql, self._beyond_sql = (
            sql.replace("{schema}", name) for sql in (_END, _NEWS, _BEYOND)
        )

    async def end(self) -> int:
        """The position of the last event."""
        return int((await self._lane.fetch(self._end_sql))[0][0])

    async def news(self, after: int, topics: Collection[str]) -> News:
        """One page of the events of these topics behind a position."""
        *found, last = await self._lane.fetch(self._news_sql, after, list(topics), _PAGE)
        rows = [LogRow(*row) for row in found]
        more = len(rows) == _PAGE
        return News(rows, rows[-1].position if more else last[0] or 0, more)

    async def beyond(self, topic: str, positions: Mapping[int, int], limit: int) -> Sequence[LogRow]:
        """Events of a topic behind a position in each partition."""
        rows = await self._lane.fetch(self._beyond_sql, topic, list(positions), list(positions.values()), limit)
        return [LogRow(*row) for row in rows]

    def decode(self, row: LogRow) -> Event | None:
        """The event of a row; the sweeper finds the run of one that does not decode."""
        try:
            event = decode_event(row.data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.error("event %d does not decode and is passed over: %s", row.position, error)
            return None
        return msgspec.structs.replace(event, partition=row.partition, position=row.position)
