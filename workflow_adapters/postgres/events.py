"""The event streamer: one log table, read behind cursors.

A cursor over numbers is safe only if numbers become visible in order. So every append takes an advisory lock before
its first number is drawn and holds it until its commit is visible: order equals visibility, and no reader can pass
over an event that commits late. Appends are few, because the relay sends what has gathered in one statement.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import NamedTuple, Self

import asyncpg
from msgspec.structs import replace

from workflow.errors import EventsRefused
from workflow.protocols import Backlog, Event, EventReceiver, EventStreamer, Shard, partition_of

from ..kit.ack_buffer import AckBuffer, Cursor
from ..kit.event_log import LogRow
from ..kit.receiver import LogReceiver
from ..kit.tail import Tail
from .checks import check_event
from .event_log import PostgresEventLog
from .lane import Lane
from .names import APPEND_LOCK, lock_key, quoted
from .rows import columns, encode_event
from .signals import Signals

__all__ = ["PostgresEventStreamer"]

_COUNTED = 10_000
"""Events of a backlog that are counted at most."""

_log = logging.getLogger("workflow.postgres")

# The lock is taken while rows are gathered; numbers are drawn above the sort, so after it.
_SEND = """
with lock as materialized (select pg_advisory_xact_lock($4))
insert into {schema}.events (topic, partition, event)
select w.topic, w.partition, w.event from lock cross join
    unnest($1::text[], $2::smallint[], $3::bytea[]) with ordinality as w (topic, partition, event, place)
order by w.place
returning position
"""

# What is there stays. An update of nothing, because a plain look in the same statement would not see a row that another
# process has committed meanwhile.
_PARTITIONS = """
insert into {schema}.settings as s (partitions) values ($1)
on conflict (single) do update set partitions = s.partitions returning partitions
"""

# A cursor beyond the end belongs to a log that was lost, and so does one that acknowledges an event before it was sent:
# the log was numbered anew, and has grown past it. Without a cursor, reading starts at the earliest event.
_IS_VOID = """
(c.position > (select case when is_called then last_value else 0 end from {schema}.events_position_seq)
or exists (select 1 from {schema}.events e where e.position = c.position and e.sent_at > c.updated_at))
"""
_FORGET = f"""
delete from {{schema}}.cursors c
where topic = $1 and consumer = $2 and partition = any($3::smallint[]) and {_IS_VOID}
"""  # noqa: S608 - constants
_CURSORS = f"""
select partition, position, {_IS_VOID} from {{schema}}.cursors c
where topic = $1 and consumer = $2 and partition = any($3::smallint[])
union all select null, max(position), false from {{schema}}.events
"""  # noqa: S608 - constants

# Only forward. What a crash of the server takes back is read again, so it does not wait for the disk.
_ACK = """
insert into {schema}.cursors as c (topic, consumer, partition, position)
select * from unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[])
where (select set_config('synchronous_commit', 'off', true)) is not null
order by 1, 2, 3
on conflict (topic, consumer, partition) do update set position = excluded.position, updated_at = now()
where c.position < excluded.position
"""

# For each consumer and each partition in which it has unread events: how many, and the first of them.
_BACKLOG = """
select w.topic, w.consumer, unread.number, oldest.position, oldest.partition, oldest.event
from (select distinct * from unnest($1::text[], $2::text[])) as w (topic, consumer)
cross join (select case when is_called then last_value else 0 end as last from {schema}.events_position_seq) as log
cross join generate_series(0, $3::integer - 1) as p (number)
left join {schema}.cursors c on c.topic = w.topic and c.consumer = w.consumer and c.partition = p.number
cross join lateral (select case when c.position <= log.last then c.position else 0 end as position) as read
cross join lateral (
    select position, partition, event from {schema}.events
    where topic = w.topic and partition = p.number and position > read.position order by position limit 1
) as oldest
cross join lateral (
    select count(*) as number from (
        select 1 from {schema}.events
        where topic = w.topic and partition = p.number and position > read.position limit $4
    ) as counted
) as unread
"""


class _Batch(NamedTuple):
    """Events to send: those that can be stored with their rows, and the places of the others with the reason."""

    good: Sequence[Event]
    rows: Sequence[tuple[str, int, bytes]]
    refused: Sequence[int]
    why: str


class PostgresEventStreamer(EventStreamer):
    """Events in a table; every process follows its end."""

    def __init__(
        self, *, sends: Lane, reads: Lane, signals: Signals, schema: str, partitions: int, safety_net: float
    ) -> None:
        name = quoted(schema)
        self._partitions = partitions
        self._sends, self._reads, self._signals = sends, reads, signals
        self._send_sql, self._partitions_sql, self._forget_sql, self._cursors_sql, self._ack_sql, self._backlog_sql = (
            sql.replace("{schema}", name) for sql in (_SEND, _PARTITIONS, _FORGET, _CURSORS, _ACK, _BACKLOG)
        )
        self._lock = lock_key(schema, APPEND_LOCK)
        self._events = PostgresEventLog(reads, schema)
        self._safety_net = safety_net
        self._tail, self._acks = self._new_readers()
        self._following: asyncio.Task[None] | None = None

    def _new_readers(self) -> tuple[Tail, AckBuffer]:
        """What belongs to one event loop: each entering may be in another."""
        return Tail(self._events, self._safety_net, _log), AckBuffer(self._write_acks, _log)

    async def __aenter__(self) -> Self:
        self._tail, self._acks = self._new_readers()
        rows = await self._sends.write(self._partitions_sql, self._partitions)
        self._partitions = rows[0][0]
        self._signals.on("events", lambda _: self._tail.wake())
        self._following = asyncio.create_task(self._tail.follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await self._acks.close()

    def partitions(self, topic: str) -> int:
        """How many partitions each topic has: the same number for all of them."""
        return self._partitions

    async def send(self, events: Sequence[Event]) -> None:
        """Append the events; see the port."""
        batch = _encoded(events, self._partitions)
        if batch.rows:
            try:
                numbers = await self._sends.write(self._send_sql, *columns(batch.rows, 3), self._lock)
            except asyncpg.PostgresError:
                batch = _checked(events, batch)
                if not batch.refused:
                    raise
                numbers = await self._sends.write(self._send_sql, *columns(batch.rows, 3), self._lock)
            self._tail.appended(
                [
                    replace(event, partition=row[1], position=number[0])
                    for event, row, number in zip(batch.good, batch.rows, numbers, strict=True)
                ],
                batch.rows[-1][2],
            )
            self._signals.send("events")
        if batch.refused:
            raise EventsRefused(batch.why, tuple(batch.refused))

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
        cursors, end, void = await self._cursors(receiver, partitions)
        if void:
            await self._sends.write(self._forget_sql, receiver.topic, receiver.name, partitions)
            cursors, end, _ = await self._cursors(receiver, partitions)
        fresh = end if from_latest or not receiver.name else 0
        receiver.start({partition: cursors.get(partition, fresh) for partition in partitions}, end=end)
        if from_latest and receiver.name:
            # From now on it has a cursor: what is sent from here on is its backlog.
            for partition in partitions:
                if partition not in cursors:
                    self._acks.move(receiver.topic, receiver.name, partition, end)
            await self._acks.flush()

    async def _cursors(self, receiver: LogReceiver, partitions: Sequence[int]) -> tuple[Mapping[int, int], int, bool]:
        """The stored cursors, how far the log reaches, and whether a cursor belongs to another log."""
        rows = await self._reads.fetch(self._cursors_sql, receiver.topic, receiver.name, partitions)
        return {row[0]: row[1] for row in rows[:-1]}, rows[-1][1] or 0, any(row[2] for row in rows)

    async def backlog(self, consumers: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Backlog]:
        """For each pair of topic and consumer name, the events that it has not acknowledged; counts up to 10,000."""
        found = {pair: Backlog() for pair in consumers}
        if not found:
            return found
        await self._acks.flush()
        rows = await self._reads.fetch(self._backlog_sql, *columns(list(found), 2), self._partitions, _COUNTED)
        for topic, name, number, position, partition, data in rows:
            event = self._events.decode(LogRow(position, partition, topic, data))
            known = found[(topic, name)]
            ages = [age for age in (known.oldest, event.created_at if event is not None else None) if age is not None]
            found[(topic, name)] = Backlog(events=min(known.events + number, _COUNTED), oldest=min(ages, default=None))
        return found

    async def _write_acks(self, positions: Mapping[Cursor, int]) -> None:
        rows = [(*cursor, position) for cursor, position in sorted(positions.items())]
        await self._sends.write(self._ack_sql, *columns(rows, 4))


def _encoded(events: Sequence[Event], partitions: int) -> _Batch:
    good: list[Event] = []
    rows: list[tuple[str, int, bytes]] = []
    refused: list[int] = []
    why = ""
    for index, event in enumerate(events):
        try:
            rows.append((event.topic, partition_of(event.run_id, partitions), encode_event(event)))
        except ValueError as error:
            refused.append(index)
            why = str(error)
        else:
            good.append(event)
    return _Batch(good, rows, refused, why)


def _checked(events: Sequence[Event], batch: _Batch) -> _Batch:
    """The same, without the events whose topic the table cannot hold."""
    good: list[Event] = []
    rows: list[tuple[str, int, bytes]] = []
    refused, why = set(batch.refused), batch.why
    for event, row in zip(batch.good, batch.rows, strict=True):
        try:
            check_event(event)
        except ValueError as error:
            refused.update(index for index, other in enumerate(events) if other is event)
            why = str(error)
        else:
            good.append(event)
            rows.append(row)
    return _Batch(good, rows, sorted(refused), why)
