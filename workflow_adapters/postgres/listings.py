# ruff: noqa: S608 - every text that is put together here is a constant, or a parameter
"""Pages, counts and numbers by status of runs."""

from collections.abc import Mapping
from datetime import datetime

from workflow.protocols import COUNT_CAP, LIVE, Count, Order, Page, Record, RecordFilter, RecordQuery, StatusCount

from ..kit.cursor import decode_cursor, encode_cursor
from ..kit.text import is_text
from .access import Access
from .listing_sources import (
    Arguments,
    Part,
    conditions,
    counted,
    failing,
    merged,
    named,
    of_foreign_ids,
    prelude,
    updated,
)
from .rows import RECORD_COLUMNS, record

__all__ = ["COUNTS", "Listings", "count_statement", "page_statement", "rarity_statement"]

RARE = 150_000
"""Index entries that are read and sorted for one page; more are looked for in order of creation instead."""

# Live runs are counted one by one, the others of each group up to $2.
COUNTS = """
with recursive groups (at, state) as (
    (select status, run_state from {schema}.runs where workflow_name = $1 order by status, run_state limit 1)
    union all
    select f.* from groups as g cross join lateral (
        select status, run_state from {schema}.runs
        where workflow_name = $1 and (status, run_state) > (g.at, g.state) order by status, run_state limit 1
    ) as f
)
select at, state, number, null::bigint from groups cross join lateral (
    select count(*) as number from (
        select from {schema}.runs where workflow_name = $1 and status = at and run_state = state
        limit case when state in (1, 2, 3) then null else $2::bigint end
    ) as counted
) as n
union all
select status, null, null, count(*) from {schema}.runs
where workflow_name = $1 and attempt > 1 and run_state in (1, 2, 3) group by status
"""

_CURSOR = "postgres:runs"


def _is_rare(query: RecordFilter) -> bool:
    """True if the question may be for few runs that have ended."""
    ended_in_time = bool(query.updated_after or query.updated_before) and not (
        query.run_states and LIVE.issuperset(query.run_states)
    )
    return bool(query.foreign_id_prefix) or ended_in_time


def _source(query: RecordFilter, args: Arguments, part: Part, *, rare: bool) -> str:
    if query.foreign_ids:
        return of_foreign_ids(query, args, part)
    if query.failing:
        return failing(part)
    if rare and query.foreign_id_prefix:
        return named(query, args, part)
    if rare:
        return updated(query, args, part)
    return merged(query, args, part)


def rarity_statement(query: RecordFilter) -> tuple[str, list[object]] | None:
    """The statement that counts the rows that a rare source would read; None if there is no choice."""
    if query.foreign_ids or query.failing or not _is_rare(query):
        return None
    args = Arguments()
    return f"{prelude(query, args)} {counted(query, args, RARE + 1)}", args.values


def page_statement(query: RecordQuery, *, rare: bool) -> tuple[str, list[object]]:
    """The statement for a page, made of constant fragments, and its arguments; it asks for one row more.

    Raises:
        ValueError: the cursor is none of this listing.
    """
    args = Arguments()
    start = prelude(query, args)
    direction, behind = ("asc", ">") if query.order is Order.ASCENDING else ("desc", "<")
    where = conditions(query, args)
    if query.cursor is not None:
        at, seq = decode_cursor(_CURSOR, query.cursor, (datetime, int))
        where += f" and (r.created_at, r.seq) {behind} ({args.add(at, 'timestamptz')}, {args.add(seq, 'bigint')})"
    # In the text, not as parameters: a plan that does not know how few rows are wanted reads far too many.
    first, most = f"limit {int(query.offset) + int(query.limit) + 1}", f"limit {int(query.limit) + 1}"
    order = f"order by r.created_at {direction}, r.seq {direction}"
    source = _source(query, args, Part(where, f"{order} {first}"), rare=rare)
    sql = f"""{start},
    page (its_name, its_status, its_state, its_moment, its_seq) as (
        select * from ({source}) as r {order} offset {int(query.offset)} {most}
    )
    select {RECORD_COLUMNS}, r.seq from page cross join lateral (
        select * from {{schema}}.runs r
        where r.workflow_name = its_name and r.status = its_status and r.run_state = its_state
            and r.created_at = its_moment and r.seq = its_seq
        limit 1
    ) as r {order}"""
    return sql, args.values


def count_statement(query: RecordFilter, cap: int, *, rare: bool) -> tuple[str, list[object]]:
    """The statement that counts up to `cap` and one more, and its arguments."""
    args = Arguments()
    start = prelude(query, args)
    where = conditions(query, args)
    most = int(cap) + 1
    source = _source(query, args, Part(where, f"limit {most}"), rare=rare)
    return f"{start} select count(*) from (select from ({source}) as r limit {most}) as counted", args.values


class Listings:
    """Lists and counts runs."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def list(self, query: RecordQuery) -> Page[Record]:
        """One page of the records that match, in order of creation."""
        sql, args = page_statement(query, rare=await self._rare(query))
        if not _can_match(query):
            return Page()
        rows = await self._access.read(sql, *args)
        following = None
        if len(rows) > query.limit:
            last = rows[query.limit - 1]
            following = encode_cursor(_CURSOR, last["created_at"], last["seq"])
        return Page((record(row) for row in rows[: query.limit]), following)

    async def count(self, query: RecordFilter, *, cap: int = COUNT_CAP) -> Count:
        """How many records match, counted up to `cap`."""
        if not _can_match(query):
            return Count(0)
        sql, args = count_statement(query, cap, rare=await self._rare(query))
        found = (await self._access.read(sql, *args))[0][0]
        return Count(min(found, cap), found > cap)

    async def counts(self, workflow_name: str) -> Mapping[int, StatusCount]:
        """The runs of a workflow by status."""
        if not is_text(workflow_name):
            return {}
        live: dict[int, int] = {}
        paused: dict[int, int] = {}
        failing_ones: dict[int, int] = {}
        finished: dict[int, int] = {}
        for status, state, number, failed in await self._access.read(COUNTS, workflow_name, COUNT_CAP + 1):
            if state is None:
                failing_ones[status] = failed
            elif state in LIVE:
                live[status] = live.get(status, 0) + number
                paused[status] = paused.get(status, 0) + (number if state == 3 else 0)
            else:
                finished[status] = finished.get(status, 0) + number
        return {
            status: StatusCount(
                live=live.get(status, 0),
                failing=failing_ones.get(status, 0),
                paused=paused.get(status, 0),
                finished=min(finished.get(status, 0), COUNT_CAP),
                capped=finished.get(status, 0) > COUNT_CAP,
            )
            for status in sorted(live.keys() | finished.keys())
        }

    async def _rare(self, query: RecordFilter) -> bool:
        """True if few runs that have ended can match, so that all of them may be read."""
        asked = rarity_statement(query)
        if asked is None or not _can_match(query):
            return False
        sql, args = asked
        found: int = (await self._access.read(sql, *args))[0][0]
        return found <= RARE


def _can_match(query: RecordFilter) -> bool:
    """False if the query names a text that no row can hold."""
    return all(map(is_text, (query.workflow_name or "", query.foreign_id_prefix, *query.foreign_ids)))
