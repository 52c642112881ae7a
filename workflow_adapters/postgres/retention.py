"""Removes finished runs with their history, events that every consumer has read, and callbacks taken long ago.

It works in small batches, beside the work, in one process at a time. Live and paused runs, unread events and held
callbacks are never touched, however old they are. Ages are judged by the server's clock.
"""

import asyncio
import logging
from datetime import timedelta
from types import TracebackType
from typing import Self

import msgspec

from .failures import described
from .lane import Lane
from .names import RETENTION_LOCK, lock_key, quoted
from .server import Connection

__all__ = ["FORGET_EVENTS", "FORGET_RUNS", "FORGET_TAKEN", "Retention", "Tidier"]

_BATCH = 1_000
_REMEMBER_TAKEN = timedelta(days=1)
"""How long the id of a callback that was taken is remembered."""

_PAUSE = 0.05
"""Seconds between batches, so that the disk and the log serve the work first."""

_log = logging.getLogger("workflow.postgres")


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long things are kept.

    Attributes:
        finished_runs: completed, cancelled and erased runs with their history and timers, counted from their last
            version; None keeps them for ever. A run ID that was removed may be used again.
        events: events that every consumer of their topic has read, counted from when they were sent; where none has
            read anything yet, not before an hour has passed.
        abandoned_consumers: an event that a consumer has left unread for so long, without reading anything else
            either, is no longer held back for it.
        every: how often a process looks for something to remove.
    """

    finished_runs: timedelta | None = None
    events: timedelta = timedelta(days=7)
    abandoned_consumers: timedelta = timedelta(days=30)
    every: timedelta = timedelta(minutes=1)


_TRY_LOCK = "select pg_try_advisory_xact_lock($1)"

FORGET_RUNS = f"""
with gone as (
    select run_id from {{schema}}.runs
    where run_state in (4, 5, 6) and updated_at < clock_timestamp() - $1::interval
        and (select set_config('synchronous_commit', 'off', true)) is not null
    order by updated_at limit {_BATCH} for update skip locked
),
runs as (delete from {{schema}}.runs r using gone where r.run_id = gone.run_id),
history as (delete from {{schema}}.history h using gone where h.run_id = gone.run_id),
timeouts as (delete from {{schema}}.timeouts t using gone where t.run_id = gone.run_id)
select count(*) from gone
"""  # noqa: S608 - constants

# A callback that was taken is remembered by its id, so that it is not delivered again.
FORGET_TAKEN = f"""
with gone as (
    select seq from {{schema}}.held_callbacks where taken_at < clock_timestamp() - $1::interval
        and (select set_config('synchronous_commit', 'off', true)) is not null
    order by taken_at limit {_BATCH}
),
deleted as (delete from {{schema}}.held_callbacks h using gone where h.seq = gone.seq)
select count(*) from gone
"""  # noqa: S608 - constants

# A page of the log, oldest first; of it, what is old enough and behind the cursor of every consumer of its topic. A
# consumer that had nothing to read for long is not abandoned: it must have left this very event lying for so long.
# Of a topic without any reader so far, the events of the last hour stay: its consumer may only be starting.
FORGET_EVENTS = """
with page as (
    select position, topic, partition, sent_at from {schema}.events
    where position > $4 and (select set_config('synchronous_commit', 'off', true)) is not null
    order by position limit $3
),
readers as (
    select topic, consumer, max(updated_at) as moved_at from {schema}.cursors group by topic, consumer
),
gone as (
    delete from {schema}.events e using page p
    where e.position = p.position and p.sent_at < clock_timestamp() - $1::interval and not exists (
        select 1 from readers r left join {schema}.cursors c
            on c.topic = r.topic and c.consumer = r.consumer and c.partition = p.partition
        where r.topic = p.topic and coalesce(c.position, 0) < p.position
            and greatest(r.moved_at, p.sent_at) > clock_timestamp() - $2::interval
    ) and (
        p.sent_at < clock_timestamp() - interval '1 hour' or exists (select 1 from readers r where r.topic = p.topic)
    )
)
select max(position), count(*), bool_and(sent_at < clock_timestamp() - $1::interval) from page
"""


class Tidier:
    """Runs the retention of one backend."""

    def __init__(self, lane: Lane, *, schema: str, retention: Retention) -> None:
        name = quoted(schema)
        self._lane, self._retention = lane, retention
        self._runs_sql, self._events_sql, self._taken_sql = (
            sql.replace("{schema}", name) for sql in (FORGET_RUNS, FORGET_EVENTS, FORGET_TAKEN)
        )
        self._lock = lock_key(schema, RETENTION_LOCK)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._repeat())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def tidy(self) -> None:
        """Remove everything that may be removed now."""
        keep = self._retention.finished_runs
        while keep is not None and await self._forget(self._runs_sql, keep):
            await asyncio.sleep(_PAUSE)
        while await self._forget(self._taken_sql, _REMEMBER_TAKEN):
            await asyncio.sleep(_PAUSE)
        start: int | None = 0
        while start is not None:
            start = await self._forget_events(start)
            if start is not None:
                await asyncio.sleep(_PAUSE)

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(self._retention.every.total_seconds())
            try:
                await self.tidy()
            except Exception as error:  # noqa: BLE001 - the loop must go on
                _log.warning("retention waits: %s", described(error))

    async def _forget(self, sql: str, keep: timedelta) -> bool:
        """Remove one batch of what is older; True if there may be more."""

        async def work(connection: Connection) -> bool:
            if not await connection.fetchval(_TRY_LOCK, self._lock):
                return False
            return bool(await connection.fetchval(sql, keep) == _BATCH)

        return await self._lane.transaction(work)

    async def _forget_events(self, start: int) -> int | None:
        """Remove what may go of one page; the position to go on after, None at the end."""

        async def work(connection: Connection) -> int | None:
            if not await connection.fetchval(_TRY_LOCK, self._lock):
                return None
            keep, abandoned = self._retention.events, self._retention.abandoned_consumers
            last, count, all_old = (await connection.fetch(self._events_sql, keep, abandoned, _BATCH, start))[0]
            return last if count == _BATCH and all_old else None

        return await self._lane.transaction(work)
