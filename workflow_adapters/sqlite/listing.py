# ruff: noqa: S608 - every text that is put together here is a constant of this file, or a parameter
"""Pages, counts and numbers by status of runs.

No listing reads the table. `runs_created` holds a workflow's runs in order of creation, `runs_listed` holds them so
within each group (a status and a run state); there are few groups, so their first rows are merged. Questions for
something rare (foreign IDs, a prefix, failing runs, a time of the last change) read all rows that have it, and fall
back on the order of creation when it turns out not to be rare.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from workflow.protocols import (
    COUNT_CAP,
    LIVE,
    Count,
    Order,
    Page,
    Record,
    RecordFilter,
    RecordQuery,
    RunState,
    StatusCount,
)

from ..kit.cursor import decode_cursor, encode_cursor
from .rows import RECORD, micros, record

_CURSOR = "sqlite:runs"
RARE = 250_000
"""Rows of an index that are sorted for one page; more are looked for in order of creation instead."""
RARE_IN_TABLE = 20_000
"""The same where each of them must be looked up in the table, to judge the other filters."""

FIRST_NAME = "select workflow_name from runs where workflow_name > ? order by workflow_name limit 1"
# Two steps: for `(status, run_state) > (?, ?)` SQLite would step through all rows of the group that is to be skipped.
NEXT_STATE = """
select run_state from runs indexed by runs_listed
where workflow_name = ? and status = ? and run_state > ? order by run_state limit 1
"""
NEXT_STATUS = """
select status from runs indexed by runs_listed where workflow_name = ? and status > ? order by status limit 1
"""
BY_SEQ = f"select {RECORD} from present where seq = ?"

_Place = tuple[int, int]
"""Creation in microseconds and number: what listings are ordered by."""


class _Source(NamedTuple):
    """Where rows are read.

    Attributes:
        by: the index that serves it.
        where: the conditions on that index; it begins with the workflow's name.
        arguments: of `where`.
    """

    by: str
    where: str
    arguments: tuple[Any, ...]


def page(connection: sqlite3.Connection, query: RecordQuery) -> Page[Record]:
    """One page of the records that match, in order of creation."""
    descending = query.order is Order.DESCENDING
    wanted = query.offset + query.limit + 1
    where, arguments = _conditions(query)
    if query.cursor is not None:
        where += f" and (created, seq) {'<' if descending else '>'} (?, ?)"
        arguments += tuple(decode_cursor(_CURSOR, query.cursor, [int, int]))
    direction = "desc" if descending else "asc"
    places: list[_Place] = []
    for source in _sources(connection, query):
        places += connection.execute(
            f"select created, seq from runs indexed by {source.by} where {source.where}{where} "
            f"order by created {direction}, seq {direction} limit ?",
            (*source.arguments, *arguments, wanted),
        )
    places.sort(reverse=descending)
    shown = places[query.offset : query.offset + query.limit]
    more = encode_cursor(_CURSOR, *shown[-1]) if shown and len(places) > query.offset + len(shown) else None
    records = [record(connection.execute(BY_SEQ, (seq,)).fetchone()) for _, seq in shown]
    return Page(records, more)


def count(connection: sqlite3.Connection, query: RecordFilter, cap: int) -> Count:
    """How many records match, counted up to `cap`."""
    where, arguments = _conditions(query)
    found = 0
    for source in _sources(connection, query):
        statement = (
            f"select count(*) from (select 1 from runs indexed by {source.by} where {source.where}{where} limit ?)"
        )
        (number,) = connection.execute(statement, (*source.arguments, *arguments, cap + 1 - found)).fetchone()
        found += number
        if found > cap:
            return Count(cap, capped=True)
    return Count(found)


def counts(connection: sqlite3.Connection, workflow_name: str) -> Mapping[int, StatusCount]:
    """The runs of a workflow by status: live ones one by one, the others up to the cap."""
    live: dict[int, int] = {}
    paused: dict[int, int] = {}
    finished: dict[int, int] = {}
    for status, state in _groups(connection, workflow_name):
        limit = -1 if state in LIVE else COUNT_CAP + 1
        statement = (
            "select count(*) from (select 1 from runs indexed by runs_listed "
            "where workflow_name = ? and status = ? and run_state = ? limit ?)"
        )
        (number,) = connection.execute(statement, (workflow_name, status, state, limit)).fetchone()
        kind = live if state in LIVE else finished
        kind[status] = kind.get(status, 0) + number
        if state == RunState.PAUSED:
            paused[status] = number
    failing = dict(connection.execute(FAILING, (workflow_name,)).fetchall())
    return {
        status: StatusCount(
            live=live.get(status, 0),
            failing=failing.get(status, 0),
            paused=paused.get(status, 0),
            finished=min(finished.get(status, 0), COUNT_CAP),
            capped=finished.get(status, 0) > COUNT_CAP,
        )
        for status in sorted(live.keys() | finished.keys())
    }


FAILING = """
select status, count(*) from runs indexed by runs_failing
where workflow_name = ? and failing = version and run_state in (1, 2, 3) group by status
"""


# -- sources ----------------------------------------------------------------------------------------------------


def _sources(connection: sqlite3.Connection, query: RecordFilter) -> Iterator[_Source]:
    """The sources that together have every matching row once."""
    names = [query.workflow_name] if query.workflow_name is not None else list(workflow_names(connection))
    for name in names:
        yield from _sources_of(connection, query, name)


def _sources_of(connection: sqlite3.Connection, query: RecordFilter, name: str) -> Iterator[_Source]:
    if query.foreign_ids:
        marks = ", ".join("?" * len(query.foreign_ids))
        yield _Source("runs_named", f"workflow_name = ? and foreign_id in ({marks})", (name, *query.foreign_ids))
        return
    if query.failing:
        yield _Source("runs_failing", "workflow_name = ?", (name,))
        return
    if query.foreign_id_prefix:
        prefix = _Source("runs_named", f"workflow_name = ? and {PREFIX}", (name, *_prefix(query)))
        looked_up = query.statuses or query.run_states or query.updated_after or query.updated_before
        if _is_rare(connection, prefix, RARE_IN_TABLE if looked_up else RARE):
            yield prefix
            return
    if query.updated_after is not None or query.updated_before is not None:
        bounds, arguments = _updated(query)
        ended = _Source("runs_ended", f"workflow_name = ? and run_state not in (1, 2, 3){bounds}", (name, *arguments))
        if _is_rare(connection, ended, RARE_IN_TABLE if query.foreign_id_prefix else RARE):
            yield ended
            yield from _group_sources(connection, query, name, only_live=True)
            return
    if query.statuses or query.run_states:
        yield from _group_sources(connection, query, name)
        return
    yield _Source("runs_created", "workflow_name = ?", (name,))


def _group_sources(
    connection: sqlite3.Connection, query: RecordFilter, name: str, *, only_live: bool = False
) -> Iterator[_Source]:
    for status, state in _groups(connection, name):
        asked = (not query.statuses or status in query.statuses) and (not query.run_states or state in query.run_states)
        if asked and (state in LIVE or not only_live):
            where = "workflow_name = ? and status = ? and run_state = ?"
            yield _Source("runs_listed", where, (name, status, state))


def _is_rare(connection: sqlite3.Connection, source: _Source, most: int) -> bool:
    statement = f"select count(*) from (select 1 from runs indexed by {source.by} where {source.where} limit ?)"
    found: int = connection.execute(statement, (*source.arguments, most + 1)).fetchone()[0]
    return found <= most


def workflow_names(connection: sqlite3.Connection) -> Iterator[str]:
    """The names of all workflows that have runs, by skipping through an index."""
    name = ""
    while (row := connection.execute(FIRST_NAME, (name,)).fetchone()) is not None:
        (name,) = row
        yield name


def _groups(connection: sqlite3.Connection, name: str) -> Iterator[tuple[int, int]]:
    """Every status and run state that runs of this workflow are in, by skipping through an index."""
    status = -(2**63)
    while (row := connection.execute(NEXT_STATUS, (name, status)).fetchone()) is not None:
        (status,) = row
        state = -1
        while (found := connection.execute(NEXT_STATE, (name, status, state)).fetchone()) is not None:
            (state,) = found
            yield status, state


# -- conditions -------------------------------------------------------------------------------------------------

PREFIX = "foreign_id >= ? and foreign_id < ?"


def _conditions(query: RecordFilter) -> tuple[str, tuple[Any, ...]]:
    """What the query asks of a row, but for its workflow; each condition begins with " and "."""
    text: list[str] = []
    arguments: list[Any] = []
    for column, values in (
        ("foreign_id", query.foreign_ids),
        ("status", query.statuses),
        ("run_state", tuple(int(state) for state in query.run_states)),
    ):
        if values:
            # The plus keeps the condition from choosing an index: the source has chosen.
            text.append(f" and +{column} in ({', '.join('?' * len(values))})")
            arguments += values
    if query.foreign_id_prefix:
        text.append(" and +foreign_id >= ? and +foreign_id < ?")
        arguments += _prefix(query)
    for column, after, before in (
        ("created", query.created_after, query.created_before),
        ("updated", query.updated_after, query.updated_before),
    ):
        if after is not None:
            text.append(f" and {column} > ?")
            arguments.append(micros(after))
        if before is not None:
            text.append(f" and {column} < ?")
            arguments.append(micros(before))
    if query.failing:
        text.append(" and failing = version")
    return "".join(text), tuple(arguments)


def _updated(query: RecordFilter) -> tuple[str, tuple[int, ...]]:
    bounds = (("> ?", query.updated_after), ("< ?", query.updated_before))
    given = [(bound, micros(moment)) for bound, moment in bounds if moment is not None]
    return "".join(f" and updated {bound}" for bound, _ in given), tuple(value for _, value in given)


def _prefix(query: RecordFilter) -> tuple[str, str]:
    """The first text with the prefix, and the first after all of them. Text is compared byte by byte."""
    prefix = query.foreign_id_prefix
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return prefix, prefix + "\U0010ffff" * 1001  # longer than any foreign ID
    following = ord(stem[-1]) + 1
    return prefix, stem[:-1] + chr(0xE000 if following == 0xD800 else following)
