"""The outbox: a queue that the relay lists and deletes from; nothing reads it behind a cursor.

While somebody keeps a snapshot open, deleted rows stay in the index and every look would walk over them. So a look
begins at a low-water id: the highest id that was deleted a moment ago. A transaction that was slower than that moment
commits rows below it; a full look from the beginning finds them, every few seconds, and the less often the longer it
takes.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime

import msgspec

from workflow.protocols import OutboxEvent, OutboxPage

from .connections import Lane
from .names import quoted
from .rows import decode_event
from .wake import Flags

__all__ = ["Outbox"]

_SETTLED_AFTER = 2.0
"""Seconds after which ids count as settled: a transaction slower than this is left to the full look."""

_FULL_LOOK_EVERY = 5.0
_FULL_LOOK_SHARE = 50.0
"""A full look that took t seconds is not repeated before 50 t have passed, so that it costs at most 2 %."""

_LOOK_BACK = 60.0
"""Seconds after a joined write in which the low-water mark stays: the user's transaction may commit late."""

_RELAYED_WITHIN = 1.0

_SPACING = 0.01
"""Seconds between looks that follow wake-ups: a look for each single commit would compete with the commits."""

# At once: in order of commit as far as ids tell it. Due: the one due first. And when the next one is due.
_LIST = """
(select id, event, due_at, null::timestamptz as next from {schema}.outbox
 where workflow_name = $1 and due_at is null and id > $4 order by id limit $3)
union all
(select id, event, due_at, null from {schema}.outbox
 where workflow_name = $1 and due_at is not null and due_at <= $2 order by due_at, id limit $3)
union all
(select null, null, null, due_at from {schema}.outbox
 where workflow_name = $1 and due_at is not null and due_at > $2 order by due_at, id limit 1)
"""

# A deletion that is forgotten in a crash sends events twice, which is harmless, so nobody waits for the disk.
_DELETE = """
delete from {schema}.outbox where id = any($1::bigint[])
and (select set_config('synchronous_commit', 'off', true)) is not null
"""

_ENTOMB = """
with gone as (delete from {schema}.outbox where id = any($1::bigint[]) returning id, workflow_name, event)
insert into {schema}.dead_letters (workflow_name, source, run_id, data, reason, created_at)
select workflow_name, 'outbox', coalesce({schema}.as_json(event) ->> 'run_id', ''), event, $2, $3 from gone
"""


class _LowWater:
    """From which id one workflow's rows are looked for."""

    def __init__(self) -> None:
        self.mark = 0
        self._deleted: deque[tuple[float, int]] = deque()
        self._next_full = 0.0

    def start(self, held_until: float) -> int:
        """The id to begin after; 0 when it is time for a full look."""
        now = time.monotonic()
        while self._deleted and self._deleted[0][0] < now - _SETTLED_AFTER:
            _, highest = self._deleted.popleft()
            if now > held_until:
                self.mark = max(self.mark, highest)
        return 0 if now >= self._next_full else self.mark

    def looked(self, began: float) -> None:
        """A full look that began then has ended."""
        now = time.monotonic()
        self._next_full = now + max(_FULL_LOOK_EVERY, _FULL_LOOK_SHARE * (now - began))

    def deleted(self, highest: int) -> None:
        """Rows up to this id, listed before, are gone."""
        self._deleted.append((time.monotonic(), highest))


class Outbox:
    """The outbox half of the record store."""

    def __init__(self, lane: Lane, schema: str, safety_net: float) -> None:
        name = quoted(schema)
        self._outbox_lane = lane
        self._list_sql, self._delete_sql, self._entomb_sql = (
            sql.replace("{schema}", name) for sql in (_LIST, _DELETE, _ENTOMB)
        )
        self._low: dict[str, _LowWater] = {}
        self._looked: dict[str, float] = {}
        self._woken: dict[str, float] = {}
        self._held_until = 0.0
        self._ready = Flags(safety_net)

    def look_back(self) -> None:
        """A row was written that may become visible late, with a low id."""
        self._held_until = time.monotonic() + _LOOK_BACK

    def wake(self, workflow_name: str | None) -> None:
        """There may be something new for this workflow (None: for any)."""
        self._ready.set(workflow_name)

    def relays(self, workflow_name: str) -> bool:
        """True if this process is the one that sends this workflow's events, so that no other need be told."""
        # Waiting makes the relay, not looking: the sweeper looks, too.
        recently = time.monotonic() - _RELAYED_WITHIN
        return self._ready.awaited(workflow_name) or self._woken.get(workflow_name, -math.inf) > recently

    async def wait_for_outbox(self, workflow_name: str) -> None:
        """Return when there may be something new."""
        await self._ready.wait(workflow_name)
        self._woken[workflow_name] = time.monotonic()
        early = self._looked.get(workflow_name, -math.inf) + _SPACING - time.monotonic()
        if early > 0:
            await asyncio.sleep(early)

    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        """Events due now, and when the next one will be."""
        low = self._low.setdefault(workflow_name, _LowWater())
        self._looked[workflow_name] = time.monotonic()
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
                next_due = following
                continue
            try:
                event = decode_event(data)
            except (msgspec.MsgspecError, ValueError):
                spoilt.append(number)
                continue
            (immediate if due_at is None else delayed).append(OutboxEvent(id=str(number), event=event, due_at=due_at))
        if spoilt:
            await self._entomb(spoilt, now)
        return OutboxPage(tuple(_mixed(immediate, delayed, limit)), next_due)

    async def _entomb(self, spoilt: Sequence[int], now: datetime) -> None:
        await self._outbox_lane.write(self._entomb_sql, spoilt, "the event does not decode", now)

    async def delete_outbox(self, ids: Sequence[str]) -> None:
        """Remove these events."""
        numbers = [int(one) for one in ids]
        if not numbers:
            return
        await self._outbox_lane.write(self._delete_sql, numbers)
        highest = max(numbers)
        for low in self._low.values():
            low.deleted(highest)


def _mixed(immediate: list[OutboxEvent], delayed: list[OutboxEvent], limit: int) -> list[OutboxEvent]:
    """At most `limit` of both; when there are too many of both, half of each."""
    room = max(limit // 2, limit - len(immediate))
    chosen = delayed[: min(room, len(delayed))] if limit > 1 or not immediate else []
    return immediate[: limit - len(chosen)] + chosen
