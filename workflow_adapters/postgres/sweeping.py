"""Runs that the engine looks after by itself: those that owe work, and those that it paused."""

from collections.abc import Sequence
from datetime import datetime

from workflow.protocols import Record, StalledQuery

from .access import Access
from .rows import RECORD_COLUMNS, record

__all__ = ["AUTO_PAUSED", "STALLED", "Sweeping"]

# One probe of the index for each status and each value of the other mark, so that runs that owe nothing cost nothing.
STALLED = f"""
with recursive present (status) as (
    select min(status) from {{schema}}.runs where workflow_name = $1 and run_state in (1, 2)
    union all
    select (select min(status) from {{schema}}.runs
            where workflow_name = $1 and run_state in (1, 2) and status > present.status)
    from present where status is not null
),
strange as (select status from present where cardinality($8::bigint[]) > 0 and status <> all($8::bigint[]))
select {RECORD_COLUMNS} from {{schema}}.runs where run_id in (
    select run_id from (
        (select r.run_id, r.due_at, r.seq from unnest($2::bigint[]) as s (status)
         cross join (values (false), (true)) as m (armed) cross join lateral (
            select * from {{schema}}.runs r
            where r.workflow_name = $1 and r.status = s.status and not r.skipped and r.armed = m.armed
                and r.run_state in (1, 2) and r.due_at < $5
                and (r.swept_at is null or $6::timestamptz - r.swept_at >= r.swept_at - r.due_at)
            order by r.due_at limit $7) r)
        union
        (select r.run_id, r.due_at, r.seq from unnest($3::bigint[]) as s (status)
         cross join (values (false), (true)) as m (skipped) cross join lateral (
            select * from {{schema}}.runs r
            where r.workflow_name = $1 and r.status = s.status and r.skipped = m.skipped and not r.armed
                and r.run_state in (1, 2) and r.due_at < $5
                and (r.swept_at is null or $6::timestamptz - r.swept_at >= r.swept_at - r.due_at)
            order by r.due_at limit $7) r)
        union
        (select r.run_id, r.due_at, r.seq from strange as s
         cross join (values (false, false), (false, true), (true, false), (true, true)) as m (skipped, armed)
         cross join lateral (
            select * from {{schema}}.runs r
            where r.workflow_name = $1 and r.status = s.status and r.skipped = m.skipped and r.armed = m.armed
                and r.run_state in (1, 2) and r.due_at < $5
                and (r.swept_at is null or $6::timestamptz - r.swept_at >= r.swept_at - r.due_at)
            order by r.due_at limit $7) r)
        union
        (select r.run_id, r.due_at, r.seq from {{schema}}.runs r
         where $4 and r.workflow_name = $1 and r.run_state = 7 and r.due_at < $5
            and (r.swept_at is null or $6::timestamptz - r.swept_at >= r.swept_at - r.due_at)
         order by r.due_at limit $7)
    ) as owing order by due_at, seq limit $7
) order by due_at, seq
"""  # noqa: S608 - constants

AUTO_PAUSED = f"""
select {RECORD_COLUMNS} from {{schema}}.runs
where workflow_name = $1 and run_state = 3 and auto_paused and updated_at <= $2 order by updated_at limit $3
"""  # noqa: S608 - constants


class Sweeping:
    """Reads for the sweeper and for the process that resumes runs."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        """Runs that owe work, the one due longest ago first."""
        rows = await self._access.read(
            STALLED,
            query.workflow_name,
            query.step_statuses,
            query.timer_statuses,
            query.deletions,
            query.due_before,
            query.now,
            query.limit,
            query.known_statuses,
        )
        return [record(row) for row in rows]

    async def list_auto_paused(self, workflow_name: str, *, paused_until: datetime, limit: int) -> Sequence[Record]:
        """Paused by the engine at that moment or before, oldest first."""
        rows = await self._access.read(AUTO_PAUSED, workflow_name, paused_until, limit)
        return [record(row) for row in rows]
