"""Reading records and the outbox: the statements behind lookups, listings, the relay's and the sweeper's questions."""

import heapq
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from workflow.protocols import Event, Order, OutboxEvent, OutboxPage, Record, RecordQuery, StalledQuery

from .changes import LIVE, PRESENT
from .rows import RECORD, micros, moment, record

_log = logging.getLogger("workflow.sqlite")
_decode_event = msgspec.msgpack.Decoder(Event).decode

LAST = f"""
select {RECORD} from present where workflow_name = ? and foreign_id = ? order by seq desc limit 1
"""  # noqa: S608
AUTO_PAUSED = f"""
select {RECORD} from present where workflow_name = ? and run_state = 3 and auto_paused = 1 and updated < ?
order by updated limit ?
"""  # noqa: S608
HISTORY = "select data from history where run = (select seq from runs where run_id = ?) order by version"
PASSED = "select min(version) from history where run = (select seq from runs where run_id = ?) and status = ?"
FOUND = "select min(version) from history where run = (select seq from runs where run_id = ?) and attempt_id = ?"
NOW = "select id, due, data from outbox where workflow_name = ? and due is null order by id limit ?"
LATER = "select id, due, data from outbox where workflow_name = ? and due <= ? order by due, id limit ?"
AHEAD = "select min(due) from outbox where workflow_name = ? and due > ?"


def lookup(connection: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, Record]:
    """The present records."""
    found = {}
    for run_id in run_ids:
        row = connection.execute(PRESENT, (run_id,)).fetchone()
        if row is not None:
            found[run_id] = record(row)
    return found


def latest(connection: sqlite3.Connection, workflow_name: str, foreign_id: str) -> Record | None:
    """The live run, else the last created."""
    key = (workflow_name, foreign_id)
    row = connection.execute(LIVE, key).fetchone() or connection.execute(LAST, key).fetchone()
    return None if row is None else record(row)


def listing(query: RecordQuery) -> tuple[str, list[Any]]:
    """The statement and its arguments."""
    conditions: list[str] = ["1"]
    arguments: list[Any] = []
    if query.workflow_name is not None:
        conditions.append("workflow_name = ?")
        arguments.append(query.workflow_name)
    for column, values in (
        ("foreign_id", query.foreign_ids),
        ("status", query.statuses),
        ("run_state", tuple(int(state) for state in query.run_states)),
    ):
        if values:
            # Several run states scattered over an index would have to be sorted: then it is not used.
            plus = "+" if column == "run_state" and len(values) > 1 else ""
            conditions.append(f"{plus}{column} in ({', '.join('?' * len(values))})")
            arguments += values
    for bound, moment_ in (("created > ?", query.created_after), ("created < ?", query.created_before)):
        if moment_ is not None:
            conditions.append(bound)
            arguments.append(micros(moment_))
    direction = "desc" if query.order is Order.DESCENDING else "asc"
    chosen = f"select seq from runs where {' and '.join(conditions)} order by seq {direction} limit ? offset ?"  # noqa: S608
    sql = f"select {RECORD} from present where seq in ({chosen}) order by seq {direction}"  # noqa: S608
    return sql, [*arguments, query.limit, query.offset]


def outbox(
    connection: sqlite3.Connection, workflow_name: str, now: int, limit: int
) -> tuple[OutboxPage, list[tuple[int, bytes]]]:
    """The page, and the rows that do not decode. Each kind of event gets half of a full page."""
    due = connection.execute(LATER, (workflow_name, now, limit)).fetchall()
    rows = connection.execute(NOW, (workflow_name, max(limit - len(due), (limit + 1) // 2))).fetchall()
    rows += due[: limit - len(rows)]
    events, broken = [], []
    for number, due_at, data in rows:
        try:
            event = _decode_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            broken.append((number, data))
            continue
        events.append(OutboxEvent(id=str(number), event=event, due_at=None if due_at is None else moment(due_at)))
    (upcoming,) = connection.execute(AHEAD, (workflow_name, now)).fetchone()
    return OutboxPage(tuple(events), None if upcoming is None else moment(upcoming)), broken


# One branch for each status keeps the index in use, so that runs which owe nothing are not even read.
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
    select min(status) from runs where workflow_name = ?1 and run_state in (1, 2)
    union all
    select (select min(status) from runs where workflow_name = ?1 and run_state in (1, 2) and status > found.status)
    from found where found.status is not null
)
select status from found where status is not null
"""


def stalled(connection: sqlite3.Connection, query: StalledQuery) -> list[Record]:
    """Stalled records, the one due longest ago first."""
    before, now = micros(query.due_before), micros(query.now)
    owing: dict[int, str] = {}
    for status in query.step_statuses:
        owing[status] = "skipped = 0"
    for status in query.timer_statuses:
        owing[status] = "(skipped = 0 or armed = 0)" if status in owing else "armed = 0"
    if query.known_statuses:
        for (status,) in connection.execute(STATUSES, (query.workflow_name,)).fetchall():
            if status not in query.known_statuses:
                owing[status] = "1"
    rows: list[tuple[Any, ...]] = []
    for status, condition in owing.items():
        arguments = (query.workflow_name, status, before, now, query.limit)
        rows += connection.execute(f"{OWING} {condition} order by due limit ?", arguments)
    if query.deletions:
        rows += connection.execute(DELETING, (query.workflow_name, before, now, query.limit))
    return heapq.nsmallest(query.limit, sound(rows), key=lambda found: found.due_at)


def sound(rows: Iterable[tuple[Any, ...]]) -> Iterator[Record]:
    """The records of those rows that decode: one that does not is reported, and keeps nobody from the others."""
    for row in rows:
        try:
            yield record(row)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.error("a record does not decode and is passed over: %s", error)
