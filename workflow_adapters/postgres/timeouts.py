"""The timeout store: timers as rows, claimed in batches, due in order.

A claim is a postponement that counts. It need not be on disk before the timer fires: the move that a timer makes is,
and the log is written in order, so a claim is never lost without the move that followed it.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime

import asyncpg

from workflow.errors import TimeoutNotFound
from workflow.protocols import (
    Page,
    Subscription,
    TimeoutPage,
    TimeoutQuery,
    TimeoutRecord,
    TimeoutStore,
    WakeUp,
    WakeUps,
)

from ..kit.text import is_text
from ..kit.wake_ups import LocalWakeUps
from .checks import check_timeout
from .lane import Lane
from .moments import aware
from .names import quoted
from .rows import columns
from .signals import Signals
from .timeout_listings import TIMER_COLUMNS, cursor_after, statement, timer

__all__ = ["CANCEL", "CLAIM", "COMPLETE", "CREATE", "POSTPONE", "PostgresTimeoutStore"]

CREATE = f"""
insert into {{schema}}.timeouts ({TIMER_COLUMNS})
select * from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::integer[], $7::integer[], $8::timestamptz[],
    $9::timestamptz[], $10::timestamptz[], $11::boolean[], $12::integer[], $13::text[], $14::integer[]
) where (select nextval($15::text::regclass)) is not null order by 1 on conflict do nothing
"""  # noqa: S608 - constants

# Postponed by this very statement; `due_at` as it was orders them. The last row: when the next of the others is due
# (`not in` and not `not exists`: that is looked up in a hash, and not in all the claimed ones again for each of them).
CLAIM = f"""
with due as (
    select id, due_at as was from {{schema}}.timeouts
    where workflow_name = $1 and not completed and due_at <= $3 and status = any($2::bigint[])
        and (select set_config('synchronous_commit', 'off', true)) is not null
    order by due_at, id limit $5 for update skip locked
),
claimed as (
    update {{schema}}.timeouts t set due_at = $4, claims = claims + 1 from due where t.id = due.id
    returning t.*, due.was
)
select {TIMER_COLUMNS}, was from claimed
union all
(select null, null, null, null, null, null, null, null, due_at, null, null, null, null, null, null
 from {{schema}}.timeouts t
 where workflow_name = $1 and not completed and status = any($2::bigint[]) and t.id not in (select id from due)
 order by due_at limit 1)
order by was nulls last, id
"""  # noqa: S608 - constants

POSTPONE = """
update {schema}.timeouts t set due_at = w.due_at, attempt = w.attempt, last_error = w.last_error
from unnest($1::text[], $2::timestamptz[], $3::integer[], $4::text[]) as w (id, due_at, attempt, last_error)
where t.id = w.id and (select nextval($5::text::regclass)) is not null
"""
COMPLETE = "update {schema}.timeouts set completed = true where id = any($1::text[]) returning id"
CANCEL = "delete from {schema}.timeouts where id = any($1::text[])"


def _row(timer: TimeoutRecord) -> Sequence[object]:
    return (
        timer.id,
        timer.workflow_name,
        timer.foreign_id,
        timer.run_id,
        timer.status,
        timer.visit,
        timer.timer,
        timer.expire_at,
        timer.due_at,
        timer.created_at,
        timer.completed,
        timer.attempt,
        timer.last_error,
        timer.claims,
    )


class PostgresTimeoutStore(TimeoutStore, WakeUps):
    """Timers in one table."""

    def __init__(self, *, writes: Lane, reads: Lane, signals: Signals, schema: str, safety_net: float) -> None:
        self._schema = name = quoted(schema)
        self._writes, self._reads, self._signals = writes, reads, signals
        self._create_sql, self._claim_sql, self._postpone_sql, self._complete_sql, self._cancel_sql = (
            sql.replace("{schema}", name) for sql in (CREATE, CLAIM, POSTPONE, COMPLETE, CANCEL)
        )
        self._counter = f"{name}.timeouts_written"
        self._wake_ups = LocalWakeUps((WakeUp.TIMEOUTS,), safety_net=safety_net)
        signals.on("timeouts", lambda name: self._wake_ups.wake(WakeUp.TIMEOUTS, name))

    def _moved(self, names: set[str]) -> None:
        for name in names:
            self._wake_ups.wake(WakeUp.TIMEOUTS, name)
            self._signals.send("timeouts", name)

    async def create(self, timeouts: Sequence[TimeoutRecord]) -> None:
        """Keep these timers, unless their ids exist."""
        if not timeouts:
            return
        try:
            await self._writes.write(self._create_sql, *columns([_row(timer) for timer in timeouts], 14), self._counter)
        except (asyncpg.PostgresError, ValueError, OverflowError):
            for timer in timeouts:
                check_timeout(timer)  # names the field
            raise
        self._moved({timer.workflow_name for timer in timeouts})

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        """Claim timers that are due; see the port."""
        rows = await self._writes.write(self._claim_sql, workflow_name, list(statuses), now, until, limit)
        timers = tuple(timer(row) for row in rows if row[0] is not None)
        return TimeoutPage(timers, next((aware(row[8]) for row in rows if row[0] is None), None))

    async def postpone(self, timeouts: Sequence[TimeoutRecord]) -> None:
        """Write when these are looked at next, and why."""
        if not timeouts:
            return
        rows = sorted((timer.id, timer.due_at, timer.attempt, timer.last_error) for timer in timeouts)
        try:
            await self._writes.write(self._postpone_sql, *columns(rows, 4), self._counter)
        except (asyncpg.PostgresError, ValueError, OverflowError):
            for timer in timeouts:
                check_timeout(timer)
            raise
        self._moved({timer.workflow_name for timer in timeouts})

    async def complete(self, ids: Sequence[str]) -> None:
        """Mark these as fired.

        Raises:
            TimeoutNotFound: there is none of this id; the others are completed.
        """
        if not ids:
            return
        found = {row[0] for row in await self._writes.write(self._complete_sql, sorted(ids))}
        if missing := [one for one in ids if one not in found]:
            raise TimeoutNotFound(missing[0])

    async def cancel(self, ids: Sequence[str]) -> None:
        """Remove these."""
        if ids:
            await self._writes.write(self._cancel_sql, sorted(ids))

    async def list(self, query: TimeoutQuery) -> Page[TimeoutRecord]:
        """One page of the timers that match, by due time and id."""
        sql, args = statement(query)
        if not is_text(query.workflow_name) or not is_text(query.run_id or ""):
            return Page()
        rows = await self._reads.fetch(sql.replace("{schema}", self._schema), *args)
        timers = [timer(row) for row in rows[: query.limit]]
        return Page(timers, cursor_after(timers[-1]) if len(rows) > query.limit else None)

    def subscribe(self, kind: WakeUp, workflow_name: str) -> AbstractAsyncContextManager[Subscription]:
        """Hear of timers that any process creates or moves for this workflow from now on.

        Raises:
            ValueError: a timeout store has no wake-ups of this kind.
        """
        return self._wake_ups.subscribe(kind, workflow_name)
