"""The log table as the tail and its receivers read it.

Numbers become visible in order (see `events`), so a reader that goes by position skips nothing.
"""

import logging
from collections.abc import Collection, Mapping, Sequence

import msgspec

from workflow.protocols import Event

from ..kit.event_log import EventLog, LogEnd, LogRow, News
from ..kit.text import described
from .lane import Lane
from .names import quoted
from .rows import decode_event

__all__ = ["PostgresEventLog"]

_PAGE = 2_000

_log = logging.getLogger("workflow.postgres")

_LAST = "select position, event from {schema}.events order by position desc limit 1"

# What lies behind a position in these topics, and, of the same moment, how far the log reaches; and whether it is
# another log, in which that position was not reached or holds another event.
_NEWS = """
select position, partition, topic, event from (
    select position, partition, topic, event from {schema}.events
    where position > $1 and topic = any($2::text[]) order by position limit $3
) as news
union all
select last.position,
    case when exists (select 1 from {schema}.events where position = $1 and event <> $4)
        or $1 > (select case when is_called then last_value else 0 end from {schema}.events_position_seq)
    then 1 else 0 end,
    null, last.event
from (select) as one left join lateral (
    select position, event from {schema}.events order by position desc limit 1
) as last on true
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
        self._last_sql, self._news_sql, self._beyond_sql = (
            sql.replace("{schema}", name) for sql in (_LAST, _NEWS, _BEYOND)
        )

    async def end(self) -> LogEnd:
        """Where it ends now."""
        rows = await self._lane.fetch(self._last_sql)
        return LogEnd(*rows[0]) if rows else LogEnd(0, None)

    async def news(self, after: LogEnd, topics: Collection[str]) -> News:
        """One page of the events of these topics behind an end that was read."""
        *found, last = await self._lane.fetch(self._news_sql, after.position, list(topics), _PAGE, after.data)
        rows = [LogRow(*row) for row in found]
        more = len(rows) == _PAGE
        end = LogEnd(rows[-1].position, rows[-1].data) if more else LogEnd(last[0] or 0, last[3])
        return News(rows, end, more, bool(last[1]))

    async def beyond(self, topic: str, positions: Mapping[int, int], limit: int) -> Sequence[LogRow]:
        """Events of a topic behind a position in each partition."""
        rows = await self._lane.fetch(self._beyond_sql, topic, list(positions), list(positions.values()), limit)
        return [LogRow(*row) for row in rows]

    def decode(self, row: LogRow) -> Event | None:
        """The event of a row; the sweeper finds the run of one that does not decode."""
        try:
            event = decode_event(row.data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.error("event %d does not decode and is passed over: %s", row.position, described(error))
            return None
        return msgspec.structs.replace(event, partition=row.partition, position=row.position)
