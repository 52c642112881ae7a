"""The outbox: a queue that the relay lists and deletes from; nothing reads it behind a cursor."""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from workflow.protocols import Event, OutboxEvent, OutboxInfo, OutboxPage

from ..kit.outbox_page import fair_page
from .lane import Lane
from .low_water import LowWater
from .moments import aware
from .names import quoted
from .rows import decode_event

__all__ = ["DELETE", "INFO", "LIST", "MOVE_TO_DEAD_LETTERS", "OLDEST", "Outboxes"]

_LOOK_BACK = 60.0
"""Seconds after a joined write in which the low-water mark stays: the user's transaction may commit late."""

# At once: in order of commit as far as ids tell it. Due: by due time. And when the next one is due.
LIST = """
(select id, event, due_at, null::timestamptz as next from {schema}.outbox
 where workflow_name = $1 and due_at is null and id > $4 order by id limit $3)
union all
(select id, event, due_at, null from {schema}.outbox
 where workflow_name = $1 and due_at is not null and due_at <= $2 order by due_at, id limit $3)
union all
(select null, null, null, due_at from {schema}.outbox
 where workflow_name = $1 and due_at is not null and due_at > $2 order by due_at, id limit 1)
"""

# A deletion that is forgotten in a crash sends events twice, which is harmless, so it does not wait for the disk.
DELETE = """
delete from {schema}.outbox where id = any($1::bigint[])
and (select set_config('synchronous_commit', 'off', true)) is not null
"""

MOVE_TO_DEAD_LETTERS = """
with gone as (delete from {schema}.outbox where id = any($1::bigint[]) returning id, workflow_name, event)
insert into {schema}.dead_letters (workflow_name, source, run_id, data, reason, created_at)
select workflow_name, 'outbox', coalesce({schema}.as_json(event) ->> 'run_id', ''), event, $2, $3 from gone
"""

INFO = """
select
    (select count(*) from (
        select from {schema}.outbox where workflow_name = $1 and due_at is null limit $3::integer) as ready),
    (select count(*) from (
        select from {schema}.outbox where workflow_name = $1 and due_at is not null and due_at <= $2
        limit $3::integer) as due),
    (select count(*) from (
        select from {schema}.outbox where workflow_name = $1 and due_at is not null and due_at > $2
        limit $3::integer) as delayed)
"""

# The oldest is among the first in order of commit, or among those that were due first.
OLDEST = """
(select event from {schema}.outbox where workflow_name = $1 and due_at is null order by id limit $3)
union all
(select event from {schema}.outbox where workflow_name = $1 and due_at is not null and due_at <= $2
 order by due_at, id limit $3)
"""

_MOST_COUNTED = 10_000
_MOST_LOOKED_AT = 100
"""Events of each kind among which the oldest is looked for."""


class Outboxes:
    """The outboxes of the record store."""

    def __init__(self, lane: Lane, schema: str) -> None:
        name = quoted(schema)
        self._outbox_lane = lane
        self._list_sql, self._delete_sql, self._move_sql, self._info_sql, self._oldest_sql = (
            sql.replace("{schema}", name) for sql in (LIST, DELETE, MOVE_TO_DEAD_LETTERS, INFO, OLDEST)
        )
        self._low: dict[str, LowWater] = {}
        self._held_until = 0.0

    def look_back(self) -> None:
        """A row was written that may become visible late, with a low id."""
        self._held_until = time.monotonic() + _LOOK_BACK

    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        """Events due now, and when the next one will be."""
        low = self._low.setdefault(workflow_name, LowWater())
        start, began = low.start(self._held_until), time.monotonic()
        rows = await self._outbox_lane.fetch(self._list_sql, workflow_name, now, limit, start)
        if start == 0:
            low.looked(began)
        immediate: list[OutboxEvent] = []
        delayed: list[OutboxEvent] = []
        spoilt: list[int] = []
        next_due: datetime | None = None
        for number, data, due_at, following in rows:
            if number is None:
                next_due = None if following is None else aware(following)
            elif (event := _decoded(data)) is None:
                spoilt.append(number)
            else:
                one = OutboxEvent(id=str(number), event=event, due_at=None if due_at is None else aware(due_at))
                (immediate if due_at is None else delayed).append(one)
        if spoilt:
            await self._outbox_lane.write(self._move_sql, spoilt, "the event does not decode", now)
        page = fair_page(immediate, delayed, limit)
        left_out = delayed[sum(one.due_at is not None for one in page) :]
        return OutboxPage(tuple(page), left_out[0].due_at if left_out else next_due)

    async def delete_outbox(self, ids: Sequence[str]) -> None:
        """Remove these events."""
        numbers = [int(one) for one in ids]
        if not numbers:
            return
        await self._outbox_lane.write(self._delete_sql, numbers)
        highest = max(numbers)
        for low in self._low.values():
            low.deleted(highest)

    async def outbox_info(self, workflow_name: str, *, now: datetime) -> OutboxInfo:
        """How much waits, and since when."""
        ready, due, delayed = (await self._outbox_lane.fetch(self._info_sql, workflow_name, now, _MOST_COUNTED))[0]
        rows = await self._outbox_lane.fetch(self._oldest_sql, workflow_name, now, _MOST_LOOKED_AT)
        return OutboxInfo(
            ready=min(ready + due, _MOST_COUNTED), delayed=delayed, oldest=_oldest(_decoded(row[0]) for row in rows)
        )


def _decoded(data: bytes) -> Event | None:
    try:
        return decode_event(data)
    except (msgspec.MsgspecError, ValueError):
        return None


def _oldest(events: Iterable[Event | None]) -> datetime | None:
    return min((event.created_at for event in events if event is not None), default=None)
