"""The sweeper's and the auto-resume's questions."""

import heapq
import logging
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from workflow.protocols import Record, StalledQuery

from ..kit.text import described
from .rows import RECORD, micros, record

_log = logging.getLogger("workflow.sqlite")

# One statement for each status keeps the index in use, so that runs which owe nothing are not even read.
OWING = f"""
select {RECORD} from present where workflow_name = ? and status = ? and run_state in (1, 2) and due < ?
    and (swept is null or ? - swept >= swept - due) and
"""  # noqa: S608
DELETING = f"""
select {RECORD} from present where workflow_name = ? and run_state = 7 and due < ?
    and (swept is null or ? - swept >= swept - due) order by due limit ?
"""  # noqa: S608
# Every status that live runs are in, by skipping through the index.
STATUSES = """
with recursive found (status) as (
    select min(status) from runs where workflow_name = :name and run_state in (1, 2)
    union all
    select (select min(status) from runs where workflow_name = :name and run_state in (1, 2) and status > found.status)
    from found where found.status is not null
)
select status from found where status is not null
"""
AUTO_PAUSED = f"""
select {RECORD} from present where workflow_name = ? and run_state = 3 and auto_paused = 1 and updated <= ?
order by updated limit ?
"""  # noqa: S608


def stalled(connection: sqlite3.Connection, query: StalledQuery) -> list[Record]:
    """Stalled records, the one due longest ago first."""
    before, now = micros(query.due_before), micros(query.now)
    rows: list[tuple[Any, ...]] = []
    for status, condition in _owing(connection, query).items():
        arguments = (query.workflow_name, status, before, now, query.limit)
        rows += connection.execute(f"{OWING} {condition} order by due limit ?", arguments)
    if query.deletions:
        rows += connection.execute(DELETING, (query.workflow_name, before, now, query.limit))
    return heapq.nsmallest(query.limit, _sound(rows), key=lambda found: found.due_at)


def _owing(connection: sqlite3.Connection, query: StalledQuery) -> dict[int, str]:
    """For each status the condition under which a run there owes work."""
    owing: dict[int, str] = {}
    for status in query.step_statuses:
        owing[status] = "skipped = 0"
    for status in query.timer_statuses:
        owing[status] = "(skipped = 0 or armed = 0)" if status in owing else "armed = 0"
    if query.known_statuses:
        for (status,) in connection.execute(STATUSES, {"name": query.workflow_name}).fetchall():
            if status not in query.known_statuses:
                owing[status] = "1"
    return owing


def auto_paused(connection: sqlite3.Connection, workflow_name: str, paused_until: datetime, limit: int) -> list[Record]:
    """Records that the engine paused at that moment or before, oldest first."""
    return list(_sound(connection.execute(AUTO_PAUSED, (workflow_name, micros(paused_until), limit))))


def _sound(rows: Iterable[tuple[Any, ...]]) -> Iterator[Record]:
    """The records of those rows that decode: one that does not is reported, and does not keep the others."""
    for row in rows:
        try:
            yield record(row)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.error("a record does not decode and is passed over: %s", described(error))
