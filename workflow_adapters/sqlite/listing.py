# ruff: noqa: S608 - every text that is put together here is a constant of this file, or a parameter
"""Pages, counts and numbers by status of runs.

No listing reads the table. `runs_created` holds a workflow's runs in order of creation, `runs_alive` the live ones of
them, `runs_done` the finished ones within each group (a status and a run state); there are few groups, so their first
rows are merged. Questions for something rare (foreign IDs, a prefix, a status of live runs, failing runs, a time of the
last change) read all rows that have it, and fall back on the order of creation when it turns out not to be rare.
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
select run_state from runs indexed by runs_done
where workflow_name = ? and status = ? and run_state > ? and +run_state > 3 order by run_state limit 1
"""
NEXT_STATUS = """
select status from runs indexed by runs_done
where workflow_name = ? and status > ? and +run_state > 3 order by status limit 1
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
    at_work = dict(connection.execute(AT_WORK, (workflow_name,)).fetchall())
    paused = dict(connection.execute(PAUSED, (workflow_name,)).fetchall())
    failing = dict(connection.execute(FAILING, (workflow_name,)).fetchall())
    finished: dict[int, int] = {}
    for status, state in _finished_groups(connection, workflow_name):
        (number,) = connection.execute(FINISHED, (workflow_name, status, state, COUNT_CAP + 1)).fetchone()
        finished[status] = finished.get(status, 0) + number
    return {
        status: StatusCount(
            live=at_work.get(status, 0) + paused.get(status, 0),
            failing=failing.get(status, 0),
            paused=paused.get(status, 0),
            finished=min(finished.get(status, 0), COUNT_CAP),
            capped=finished.get(status, 0) > COUNT_CAP,
        )
        for status in sorted(at_work.keys() | paused.keys() | finished.keys())
    }


AT_WORK = """
select status, count(*) from runs indexed by runs_owing
where workflow_name = ? and run_state in (1, 2) group by status
"""
PAUSED = """
select status, count(*) from runs indexed by runs_paused
where workflow_name = ? and run_state = 3 group by status
"""
FAILING = """
select status, count(*) from runs indexed by runs_failing
where workflow_name = ? and failing = version and run_state in (1, 2, 3) group by status
"""
FINISHED = """
select count(*) from (
    select 1 from runs indexed by runs_done
    where workflow_name = ? and status = ? and run_state = ? and +run_state > 3 limit ?
)
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
        yield _Source("runs_foreign", f"workflow_name = ? and foreign_id in ({marks})", (name, *query.foreign_ids))
        return
    if query.failing:
        yield _Source("runs_failing", "workflow_name = ?", (name,))
        return
    if query.foreign_id_prefix:
        prefix = _Source("runs_foreign", f"workflow_name = ? and {PREFIX}", (name, *_prefix(query)))
        if _is_rare(connection, prefix, RARE_IN_TABLE):
            yield prefix
            return
    if query.updated_after is not None or query.updated_before is not None:
        bounds, arguments = _updated(query)
        ended = _Source("runs_ended", f"workflow_name = ? and {DONE}{bounds}", (name, *arguments))
        if _is_rare(connection, ended, RARE_IN_TABLE if query.foreign_id_prefix else RARE):
            if not query.run_states or not LIVE.issuperset(query.run_states):
                yield ended
            yield from _live_sources(connection, query, name)
            return
    if query.statuses or query.run_states:
        yield from _live_sources(connection, query, name)
        yield from _finished_sources(connection, query, name)
        return
    yield _Source("runs_created", "workflow_name = ?", (name,))


def _live_sources(connection: sqlite3.Connection, query: RecordFilter, name: str) -> Iterator[_Source]:
    """Live runs: by their state or status where few have it, else all in order of creation."""
    asked = LIVE.intersection(query.run_states) if query.run_states else LIVE
    if RunState.RUNNING not in asked:
        for state in sorted(asked):
            index = "runs_initiated" if state is RunState.INITIATED else "runs_paused"
            yield _Source(index, f"workflow_name = ? and run_state = {int(state)}", (name,))
        return
    if query.statuses:
        marks = ", ".join("?" * len(query.statuses))
        where = f"workflow_name = ? and status in ({marks}) and run_state in (1, 2)"
        at_work = _Source("runs_owing", where, (name, *query.statuses))
        if _is_rare(connection, at_work, RARE_IN_TABLE):
            yield at_work
            if RunState.PAUSED in asked:
                yield _Source("runs_paused", "workflow_name = ? and run_state = 3", (name,))
            return
    yield _Source("runs_alive", f"workflow_name = ? and {LIVING}", (name,))


def _finished_sources(connection: sqlite3.Connection, query: RecordFilter, name: str) -> Iterator[_Source]:
    if query.run_states and LIVE.issuperset(query.run_states):
        return
    for status, state in _finished_groups(connection, name):
        if (not query.statuses or status in query.statuses) and (not query.run_states or state in query.run_states):
            where = f"workflow_name = ? and status = ? and run_state = ? and {DONE}"
            yield _Source("runs_done", where, (name, status, state))


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


def _finished_groups(connection: sqlite3.Connection, name: str) -> Iterator[tuple[int, int]]:
    """Every status and run state that finished runs of this workflow are in, by skipping through an index."""
    status = -(2**63)
    while (row := connection.execute(NEXT_STATUS, (name, status)).fetchone()) is not None:
        (status,) = row
        state = -1
        while (found := connection.execute(NEXT_STATE, (name, status, state)).fetchone()) is not None:
            (state,) = found
            yield status, state


# -- conditions -------------------------------------------------------------------------------------------------

PREFIX = "foreign_id >= ? and foreign_id < ?"
# Word for word the conditions of partial indexes: SQLite compares them as text.
DONE = "+run_state > 3"
LIVING = "run_state < 4"


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
