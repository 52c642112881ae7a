"""Questions about runs: each is served by an index, and reads what the last commit wrote.

A caller that has joined a transaction of the user's reads through it, so that it sees its own writes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from workflow.protocols import DeadLetter, Order, Record, RecordQuery, StalledQuery

from .batch_loader import BatchLoader
from .connections import Lane, Row
from .joined import Joined, to_end
from .names import quoted
from .rows import HISTORY_COLUMNS, LETTER_COLUMNS, RECORD_COLUMNS, check_text, columns, letter, letter_columns, record

__all__ = ["Reads"]

_LOOKUP = f"select {RECORD_COLUMNS} from {{schema}}.runs where run_id = any($1::text[])"  # noqa: S608 - constants

# For each pair the live run, else the last created.
_LATEST = f"""
select {RECORD_COLUMNS} from unnest($1::text[], $2::text[]) as w (name, key) cross join lateral (
    (select * from {{schema}}.runs
     where workflow_name = w.name and foreign_id = w.key and run_state in (1, 2, 3) limit 1)
    union all
    (select * from {{schema}}.runs where workflow_name = w.name and foreign_id = w.key order by seq desc limit 1)
    limit 1
) as r
"""  # noqa: S608 - constants

_LIVE = f"""
select {RECORD_COLUMNS} from {{schema}}.runs
where (workflow_name, foreign_id) in (select * from unnest($1::text[], $2::text[])) and run_state in (1, 2, 3)
"""  # noqa: S608 - constants

_HISTORY = f"""
select {HISTORY_COLUMNS} from {{schema}}.history h join {{schema}}.runs r using (run_id)
where h.run_id = $1 order by h.version
"""  # noqa: S608 - constants

_PASSED = """
select w.run_id, w.status,
    (select min(version) from {schema}.history h where h.run_id = w.run_id and h.status = w.status)
from unnest($1::text[], $2::bigint[]) as w (run_id, status)
"""

_FIND_ATTEMPT = "select min(version) from {schema}.history where run_id = $1 and attempt_id = $2"

_ATTEMPTS = """
select h.run_id, h.version, h.attempt_id from unnest($1::text[], $2::integer[]) as w (run_id, version)
join {schema}.history h on h.run_id = w.run_id and h.version = w.version
"""

# One probe of the index for each status and each value of the other mark, so that runs that owe nothing cost nothing.
_STALLED = f"""
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

_AUTO_PAUSED = f"""
select {RECORD_COLUMNS} from {{schema}}.runs
where workflow_name = $1 and run_state = 3 and auto_paused and updated_at < $2 order by updated_at limit $3
"""  # noqa: S608 - constants

_BURY = """
insert into {schema}.dead_letters (workflow_name, source, run_id, data, reason, created_at)
select * from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::timestamptz[])
"""
_DEAD_LETTERS = f"select {LETTER_COLUMNS} from {{schema}}.dead_letters where workflow_name = $1 order by id limit $2"  # noqa: S608

# All workflows in order of creation, without an index of its own: the newest or oldest of each workflow, merged.
_ALL = """
with recursive names (name) as (
    (select workflow_name from {schema}.runs order by workflow_name limit 1)
    union all
    select (select workflow_name from {schema}.runs where workflow_name > name order by workflow_name limit 1)
    from names where name is not null
)
select {columns} from names cross join lateral (
    select * from {schema}.runs where workflow_name = name and {conditions}
    order by seq {order} limit $1::bigint + $2::bigint
) as r
where name is not null order by seq {order} offset $1::bigint limit $2::bigint
"""
_ONE = """
select {columns} from {schema}.runs
where workflow_name = $3 and {conditions} order by seq {order} offset $1::bigint limit $2::bigint
"""


class Reads:
    """The reading half of the record store."""

    def __init__(self, lane: Lane, schema: str, joined: Joined) -> None:
        self._lane, self._join, self._schema = lane, joined, quoted(schema)
        self._lookups = BatchLoader(self._lookup)
        self._latests = BatchLoader(self._latest)
        self._passings = BatchLoader(self._passed)

    def _sql(self, text: str) -> str:
        return text.replace("{schema}", self._schema)

    async def _rows(self, sql: str, *args: object) -> Sequence[Row]:
        theirs = self._join.connection()
        if theirs is not None:
            return await to_end(theirs.fetch(self._sql(sql), *args))
        return await self._lane.fetch(self._sql(sql), *args)

    async def lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        """The present records of these runs."""
        wanted = [run_id for run_id in run_ids if _is_text(run_id)]
        if len(wanted) == 1 and not self._in_transaction():
            found = await self._lookups.get(wanted[0])
            return {} if found is None else {found.run_id: found}
        return await self._lookup(wanted) if wanted else {}

    async def _lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        return {row[2]: record(row) for row in await self._rows(_LOOKUP, run_ids)}

    async def latest(self, workflow_name: str, foreign_id: str) -> Record | None:
        """The live run of the foreign ID, else the one created last."""
        key = (workflow_name, foreign_id)
        if not _is_text(foreign_id):
            return None
        return (await self._latest([key])).get(key) if self._in_transaction() else await self._latests.get(key)

    async def _latest(self, keys: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Record]:
        rows = await self._rows(_LATEST, *columns(keys, 2))
        return {(row[0], row[1]): record(row) for row in rows}

    def _in_transaction(self) -> bool:
        return self._join.connection() is not None

    async def live(self, wanted: Sequence[Record]) -> Mapping[tuple[str, str], Record]:
        """The live runs that hold the foreign IDs of these records."""
        if not wanted:
            return {}
        names, foreign_ids = [one.workflow_name for one in wanted], [one.foreign_id for one in wanted]
        return {(row[0], row[1]): record(row) for row in await self._rows(_LIVE, names, foreign_ids)}

    async def list(self, query: RecordQuery) -> Sequence[Record]:
        """The records that match, in order of creation."""
        sql, args = _listing(query)
        return [record(row) for row in await self._rows(sql, *args)]

    async def history(self, run_id: str) -> Sequence[Record]:
        """Every committed version, oldest first."""
        return [record(row) for row in await self._rows(_HISTORY, run_id)]

    async def passed(self, run_id: str, status: int) -> int | None:
        """The first version that has this status."""
        key = (run_id, status)
        if not _is_text(run_id):
            return None
        return (await self._passed([key])).get(key) if self._in_transaction() else await self._passings.get(key)

    async def _passed(self, keys: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        rows = await self._rows(_PASSED, *columns(keys, 2))
        return {(row[0], row[1]): row[2] for row in rows if row[2] is not None}

    async def find_attempt(self, run_id: str, attempt_id: str) -> int | None:
        """The version that this attempt wrote."""
        version: int | None = (await self._rows(_FIND_ATTEMPT, run_id, attempt_id))[0][0]
        return version

    async def attempts(self, versions: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], str]:
        """The attempt that wrote each of these versions, if they exist."""
        if not versions:
            return {}
        rows = await self._rows(_ATTEMPTS, [run_id for run_id, _ in versions], [number for _, number in versions])
        return {(row[0], row[1]): row[2] for row in rows}

    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        """Runs that owe work, the one due longest ago first."""
        rows = await self._rows(
            _STALLED,
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

    async def list_auto_paused(self, workflow_name: str, *, paused_before: datetime, limit: int) -> Sequence[Record]:
        """Paused by the engine before that moment, oldest first."""
        return [record(row) for row in await self._rows(_AUTO_PAUSED, workflow_name, paused_before, limit)]

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep these dead letters."""
        if letters:
            await self._lane.write(self._sql(_BURY), *letter_columns(letters))

    async def dead_letters(self, workflow_name: str, *, limit: int = 100) -> Sequence[DeadLetter]:
        """The dead letters of a workflow, oldest first."""
        return [letter(row) for row in await self._rows(_DEAD_LETTERS, workflow_name, limit)]


def _is_text(value: str) -> bool:
    """False for what no row can hold, so that asking for it spoils nobody else's answer."""
    try:
        check_text("", value)
    except ValueError:
        return False
    return True


def _listing(query: RecordQuery) -> tuple[str, list[object]]:
    """The statement for this question, made of constant fragments, and its arguments.

    A condition that is not asked for must not be in the text: with it, one plan for all questions could use no index.
    """
    args: list[object] = [query.offset, query.limit]
    conditions = ["true"]
    if query.workflow_name is not None:
        args.append(query.workflow_name)
    for text, value in (
        ("foreign_id = any(${}::text[])", query.foreign_ids),
        ("status = any(${}::bigint[])", query.statuses),
        ("run_state = any(${}::smallint[])", [int(state) for state in query.run_states]),
        ("created_at > ${}", query.created_after),
        ("created_at < ${}", query.created_before),
    ):
        if value:
            args.append(value)
            conditions.append(text.format(len(args)))
    shape = _ONE if query.workflow_name is not None else _ALL
    order = "asc" if query.order is Order.ASCENDING else "desc"
    text = shape.replace("{columns}", RECORD_COLUMNS).replace("{order}", order)
    return text.replace("{conditions}", " and ".join(conditions)), args
