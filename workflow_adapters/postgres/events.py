"""The event streamer: one log table, read behind cursors.

A cursor over numbers is safe only if numbers become visible in order. So every append takes an advisory lock before
its first number is drawn and holds it until its commit is visible: order equals visibility, and no reader can pass
over an event that commits late. Appends are few, because the relay sends what has gathered in one statement.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Self

import asyncpg

from workflow.errors import EventsRefused
from workflow.protocols import Event, EventReceiver, EventStreamer, Shard, partition_of

from .connections import Lane
from .failures import described
from .names import APPEND_LOCK, lock_key, quoted
from .receiver import CATCH_UP, PostgresReceiver
from .rows import check_event, columns, decode_event, encode_event
from .signals import Signals
from .tail import READ, Tail

__all__ = ["PostgresEventStreamer"]

_ACK_EVERY = 0.2
"""Seconds that acknowledgements gather before they are written."""

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

# A cursor beyond the end belongs to a log that was lost; without it, reading starts at the earliest event.
_FORGET = """
delete from {schema}.cursors where topic = $1 and consumer = $2 and partition = any($3::smallint[])
and position > (select case when is_called then last_value else 0 end from {schema}.events_position_seq)
"""
_CURSORS = """
select partition, position from {schema}.cursors where topic = $1 and consumer = $2 and partition = any($3::smallint[])
union all select null, max(position) from {schema}.events
"""

# Only forward. What a crash of the server takes back is read again, so nobody waits for the disk.
_ACK = """
insert into {schema}.cursors as c (topic, consumer, partition, position)
select * from unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[])
where (select set_config('synchronous_commit', 'off', true)) is not null
order by 1, 2, 3
on conflict (topic, consumer, partition) do update set position = excluded.position, updated_at = now()
where c.position < excluded.position
"""

_LAG = """
select e.event from generate_series(0, $3::integer - 1) as p (number)
left join {schema}.cursors c on c.topic = $1 and c.consumer = $2 and c.partition = p.number
cross join lateral (
    select event from {schema}.events
    where topic = $1 and partition = p.number and position > coalesce(c.position, 0) order by position limit 1
) as e
"""


class PostgresEventStreamer(EventStreamer):
    """Events in a table; every process follows its end."""

    def __init__(
        self, *, sends: Lane, reads: Lane, signals: Signals, schema: str, partitions: int, safety_net: float
    ) -> None:
        name = quoted(schema)
        self.partitions = partitions
        self._sends, self._reads, self._signals = sends, reads, signals
        self._send_sql, self._partitions_sql, self._forget_sql, self._cursors_sql, self._ack_sql, self._lag_sql = (
            sql.replace("{schema}", name) for sql in (_SEND, _PARTITIONS, _FORGET, _CURSORS, _ACK, _LAG)
        )
        self._catch_up_sql = CATCH_UP.replace("{schema}", name)
        self._lock = lock_key(schema, APPEND_LOCK)
        self._tail = Tail(reads, READ.replace("{schema}", name), safety_net)
        self._acks: dict[tuple[str, str, int], int] = {}
        self._acked = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        rows = await self._sends.write(self._partitions_sql, self.partitions)
        self.partitions = rows[0][0]
        self._signals.on("events", self._tail.wake)
        self._tasks = [asyncio.create_task(self._tail.follow()), asyncio.create_task(self._acking())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._write_acks()

    async def send(self, events: Sequence[Event]) -> None:
        """Append the events; see the port."""
        good, rows, refused, why = self._encoded(events)
        if rows:
            try:
                numbers = await self._sends.write(self._send_sql, *columns(rows, 3), self._lock)
            except asyncpg.PostgresError:
                good, rows, refused, why = _checked(events, good, rows, refused, why)
                if not refused:
                    raise
                numbers = await self._sends.write(self._send_sql, *columns(rows, 3), self._lock)
            self._tail.appended(good, [(row[1], number[0]) for row, number in zip(rows, numbers, strict=True)])
            self._signals.send("events")
        if refused:
            raise EventsRefused(why, tuple(refused))

    def _encoded(self, events: Sequence[Event]) -> "tuple[list[Event], list[tuple[str, int, bytes]], list[int], str]":
        good: list[Event] = []
        rows: list[tuple[str, int, bytes]] = []
        refused: list[int] = []
        why = ""
        for index, event in enumerate(events):
            try:
                rows.append((event.topic, partition_of(event.run_id, self.partitions), encode_event(event)))
            except ValueError as error:
                refused.append(index)
                why = str(error)
            else:
                good.append(event)
        return good, rows, refused, why

    @asynccontextmanager
    async def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AsyncIterator[EventReceiver]:
        """Open a reading; see the port."""
        receiver = PostgresReceiver(topic, name, self._reads, self._catch_up_sql, self._acks, self._acked)
        # Before the positions are read, so that what is sent meanwhile is handed over and not missed.
        self._tail.attach(receiver)
        try:
            await self._begin(receiver, shard, from_latest=from_latest)
            yield receiver
        finally:
            self._tail.detach(receiver)
            if name:
                await self._write_acks()

    async def _begin(self, receiver: PostgresReceiver, shard: Shard, *, from_latest: bool) -> None:
        places = list(shard.partitions(self.partitions))
        # Acknowledgements of this name that wait here belong to the cursor that is read now.
        await self._write_acks()
        rows = await self._reads.fetch(self._cursors_sql, receiver.topic, receiver.name, places)
        cursors, latest = {row[0]: row[1] for row in rows[:-1]}, rows[-1][1] or 0
        if any(position > latest for position in cursors.values()):
            await self._sends.write(self._forget_sql, receiver.topic, receiver.name, places)
            rows = await self._reads.fetch(self._cursors_sql, receiver.topic, receiver.name, places)
            cursors, latest = {row[0]: row[1] for row in rows[:-1]}, rows[-1][1] or 0
        fresh = latest if from_latest or not receiver.name else 0
        positions = {place: cursors.get(place, fresh) for place in places}
        receiver.start(positions, behind=any(position < latest for position in positions.values()))

    async def lag(self, topic: str, name: str) -> datetime | None:
        """When the oldest event was made that this consumer has not acknowledged."""
        rows = await self._reads.fetch(self._lag_sql, topic, name, self.partitions)
        return min((decode_event(row[0]).created_at for row in rows), default=None)

    async def _acking(self) -> None:
        while True:
            await self._acked.wait()
            await asyncio.sleep(_ACK_EVERY)
            self._acked.clear()
            await self._write_acks()

    async def _write_acks(self) -> None:
        if not self._acks:
            return
        acks = dict(self._acks)
        self._acks.clear()
        rows = [(topic, name, partition, position) for (topic, name, partition), position in sorted(acks.items())]
        try:
            await self._sends.write(self._ack_sql, *columns(rows, 4))
        except Exception as error:  # noqa: BLE001 - nobody else would start this loop again
            _log.warning("acknowledgements wait: %s", described(error))
            for key, position in acks.items():
                self._acks[key] = max(position, self._acks.get(key, 0))
            self._acked.set()


def _checked(
    events: Sequence[Event], good: list[Event], rows: "list[tuple[str, int, bytes]]", refused: list[int], why: str
) -> "tuple[list[Event], list[tuple[str, int, bytes]], list[int], str]":
    """The same, without the events whose topic the table cannot hold."""
    fine, kept = [], []
    for event, row in zip(good, rows, strict=True):
        try:
            check_event(event)
        except ValueError as error:
            refused.extend(index for index, other in enumerate(events) if other is event and index not in refused)
            why = str(error)
        else:
            fine.append(event)
            kept.append(row)
    return fine, kept, sorted(refused), why
