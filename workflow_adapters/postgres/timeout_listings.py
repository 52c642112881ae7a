"""Pages of timers, by due time and id: each question is served by an index made for it."""

from datetime import UTC, datetime

from workflow.protocols import TimeoutQuery, TimeoutRecord

from ..kit.cursor import decode_cursor, encode_cursor
from .moments import aware
from .server import Row

__all__ = ["TIMER_COLUMNS", "cursor_after", "statement", "timer"]

TIMER_COLUMNS = """id, workflow_name, foreign_id, run_id, status, visit, timer, expire_at, due_at, created_at,
    completed, attempt, last_error, claims"""

# Inclusive, so that without a bound a timer that is never due (at infinity) is listed too.
_PAGE = """
    due_at <= coalesce($4::timestamptz - interval '1 microsecond', 'infinity')
    and (due_at, id) > ($2::timestamptz, $3::text)
    order by due_at, id limit $5"""

_WAITING = f"""
(select {TIMER_COLUMNS} from {{schema}}.timeouts where workflow_name = $1 and not completed and {_PAGE})
"""  # noqa: S608 - constants

# One probe of the index for each status.
_WAITING_AT = f"""
(select {TIMER_COLUMNS} from (select distinct unnest($6::bigint[])) as s (wanted) cross join lateral (
    select * from {{schema}}.timeouts where workflow_name = $1 and not completed and status = s.wanted and {_PAGE}
) as t)
"""  # noqa: S608 - constants
_COMPLETED_AT = _WAITING_AT.replace("not completed", "completed")

_COMPLETED = f"""
(with recursive present (status) as (
    (select status from {{schema}}.timeouts where workflow_name = $1 and completed order by status limit 1)
    union all
    select (select status from {{schema}}.timeouts
            where workflow_name = $1 and completed and status > present.status order by status limit 1)
    from present where status is not null
)
select {TIMER_COLUMNS} from (select status as wanted from present where status is not null) as s cross join lateral (
    select * from {{schema}}.timeouts where workflow_name = $1 and completed and status = s.wanted and {_PAGE}
) as t)
"""  # noqa: S608 - constants

_OF_RUN = f"""
with mine as materialized (select * from {{schema}}.timeouts where run_id = $6)
select {TIMER_COLUMNS} from mine
where workflow_name = $1 and ($7 or not completed) and (cardinality($8::bigint[]) = 0 or status = any($8::bigint[]))
    and {_PAGE}
"""  # noqa: S608 - constants

_CURSOR = "postgres:timeouts"
_BEFORE_ALL = datetime(1, 1, 1, tzinfo=UTC)
"""No timer was due before."""


def statement(query: TimeoutQuery) -> tuple[str, list[object]]:
    """The statement for this question, and its arguments; it asks for one row more than the page holds.

    Raises:
        ValueError: the cursor is none of this listing.
    """
    place = [_BEFORE_ALL, ""] if query.cursor is None else decode_cursor(_CURSOR, query.cursor, (datetime, str))
    args: list[object] = [query.workflow_name, *place, query.due_before, query.limit + 1]
    if query.run_id is not None:
        return _OF_RUN, [*args, query.run_id, query.completed, query.statuses]
    if query.statuses:
        args.append(query.statuses)
        parts = [_WAITING_AT, _COMPLETED_AT] if query.completed else [_WAITING_AT]
    else:
        parts = [_WAITING, _COMPLETED] if query.completed else [_WAITING]
    return f"select * from ({' union all '.join(parts)}) as t order by due_at, id limit $5", args  # noqa: S608 - constants


def cursor_after(last: TimeoutRecord) -> str:
    """The cursor of the page that follows this timer."""
    return encode_cursor(_CURSOR, last.due_at, last.id)


def timer(row: Row) -> TimeoutRecord:
    """The timer that a row of `TIMER_COLUMNS` holds."""
    return TimeoutRecord(
        id=row[0],
        workflow_name=row[1],
        foreign_id=row[2],
        run_id=row[3],
        status=row[4],
        visit=row[5],
        timer=row[6],
        expire_at=aware(row[7]),
        due_at=aware(row[8]),
        created_at=row[9],
        completed=row[10],
        attempt=row[11],
        last_error=row[12],
        claims=row[13],
    )
