"""Records, their history, the outbox and the dead letters."""

import heapq
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from workflow._change import ALREADY_APPLIED, APPLIED, Change, Emit, Mark, Move, Outcome, Verdict
from workflow._event import DeadLetter, Event, OutboxEvent, OutboxPage
from workflow._record import Order, Record, RecordQuery, StalledQuery
from workflow.protocols import RecordStore

from .database import Database
from .rows import RECORD, check, decode_record, encode, micros, moment, record, unmarked

_decode_event = msgspec.msgpack.Decoder(Event).decode
_decode_letter = msgspec.msgpack.Decoder(DeadLetter).decode

# Creates a run, unless its run ID or a live run of its foreign ID exists.
CREATE = """
insert into runs (run_id, workflow_name, foreign_id, run_state, status, version, visit, created, updated, due,
    auto_paused, data)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing
"""
# The compare-and-swap: what belongs to the old version is cleared, armed timers stay within a visit.
MOVE = """
update runs set run_state = ?, status = ?, version = ?, armed = armed and visit = ?, visit = ?, updated = ?, due = ?,
    auto_paused = ?, data = ?, skipped = 0, started_by = '', swept = null
where run_id = ? and version = ?
"""
HISTORY = "insert into history (run_id, version, status, attempt_id, data) values (?, ?, ?, ?, ?)"
OUTBOX = "insert into outbox (workflow_name, due, data) values (?, ?, ?)"
PRESENT = f"select {RECORD} from runs where run_id = ?"  # noqa: S608 - constants
WROTE = "select 1 from history where run_id = ? and version = ? and attempt_id = ?"
LIVE = f"""
select {RECORD} from runs where workflow_name = ? and foreign_id = ? and run_state in (1, 2, 3)
"""  # noqa: S608
LAST = f"""
select {RECORD} from runs where workflow_name = ? and foreign_id = ? order by seq desc limit 1
"""  # noqa: S608
MARK = """
update runs set skipped = coalesce(?, skipped), armed = coalesce(?, armed), started_by = coalesce(?, started_by)
where run_id = ? and version = ?
"""
# An emission is guarded by the version too; swept stays when the emission is no sweep.
SWEPT = "update runs set swept = coalesce(?, swept) where run_id = ? and version = ?"


class SQLiteRecordStore(RecordStore):
    """Records in a file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[str, int] = {}

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Apply each change whose expected version is the present one; all in one transaction."""
        for change in changes:
            check(change)
        on_commit = any(isinstance(change, Move) and change.on_commit for change in changes)
        workflows = {change.event.workflow_name for change in changes if not isinstance(change, Mark)}
        wakes = [("outbox", name) for name in workflows]
        return await self._database.write(
            lambda c: _store(c, changes), wakes=wakes, alone=on_commit, lazy=not workflows
        )

    async def lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        """The present records."""
        return await self._database.read(lambda c: _lookup(c, run_ids))

    async def latest(self, workflow_name: str, foreign_id: str) -> Record | None:
        """The live run, else the last created."""

        def work(connection: sqlite3.Connection) -> Record | None:
            key = (workflow_name, foreign_id)
            row = connection.execute(LIVE, key).fetchone() or connection.execute(LAST, key).fetchone()
            return None if row is None else record(row)

        return await self._database.read(work)

    async def list(self, query: RecordQuery) -> Sequence[Record]:
        """The records that match, in order of creation."""
        sql, arguments = _list_query(query)
        return await self._database.read(lambda c: [record(row) for row in c.execute(sql, arguments)])

    async def history(self, run_id: str) -> Sequence[Record]:
        """Every version."""
        sql = "select data from history where run_id = ? order by version"
        return await self._database.read(lambda c: [decode_record(data) for (data,) in c.execute(sql, (run_id,))])

    async def passed(self, run_id: str, status: int) -> int | None:
        """The first version with this status."""
        sql = "select min(version) from history where run_id = ? and status = ?"
        return await self._database.read(lambda c: c.execute(sql, (run_id, status)).fetchone()[0])

    async def find_attempt(self, run_id: str, attempt_id: str) -> int | None:
        """The version this attempt wrote."""
        sql = "select min(version) from history where run_id = ? and attempt_id = ?"
        return await self._database.read(lambda c: c.execute(sql, (run_id, attempt_id)).fetchone()[0])

    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        """What may be sent."""
        page, broken = await self._database.read(lambda c: _outbox(c, workflow_name, micros(now), limit))
        if broken:
            await self._database.write(lambda c: _bury_rows(c, workflow_name, broken, now))
        return page

    async def delete_outbox(self, ids: Sequence[str]) -> None:
        """Remove events."""
        rows = [(int(id_),) for id_ in ids]
        await self._database.write(lambda c: c.executemany("delete from outbox where id = ?", rows).rowcount, lazy=True)

    async def wait_for_outbox(self, workflow_name: str) -> None:
        """Return when something may have been written since the last return."""
        seen = self._seen.get(workflow_name, 0)
        self._seen[workflow_name] = await self._database.signals.wait("outbox", workflow_name, seen)

    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        """Stalled records, the one due longest ago first."""
        return await self._database.read(lambda c: _stalled(c, query))

    async def list_auto_paused(self, workflow_name: str, *, paused_before: datetime, limit: int) -> Sequence[Record]:
        """Records that the engine paused, oldest first."""
        sql = f"""
            select {RECORD} from runs where workflow_name = ? and run_state = 3 and auto_paused = 1 and updated < ?
            order by updated limit ?
        """  # noqa: S608
        arguments = (workflow_name, micros(paused_before), limit)
        return await self._database.read(lambda c: [record(row) for row in c.execute(sql, arguments)])

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters."""
        await self._database.write(lambda c: _bury(c, letters))

    async def dead_letters(self, workflow_name: str, *, limit: int = 100) -> Sequence[DeadLetter]:
        """The dead letters, oldest first."""
        sql = "select id, data from dead_letters where workflow_name = ? order by id limit ?"

        def work(connection: sqlite3.Connection) -> list[DeadLetter]:
            rows = connection.execute(sql, (workflow_name, limit))
            return [replace(_decode_letter(data), id=str(number)) for number, data in rows]

        return await self._database.read(work)


def _store(connection: sqlite3.Connection, changes: Sequence[Change]) -> list[Outcome]:
    moves = [change for change in changes if isinstance(change, Move) and change.record.version > 1]
    if len(moves) == len(changes) and _store_at_once(connection, moves):
        return [APPLIED] * len(changes)
    return [_store_one(connection, change) for change in changes]


def _store_at_once(connection: sqlite3.Connection, moves: Sequence[Move]) -> bool:
    """All moves in three statements, if each meets the version it expects; else nothing is written."""
    if any(move.erase or move.on_commit for move in moves):
        return False
    connection.execute("savepoint batch")
    swapped = connection.executemany(MOVE, [_move_row(move.record) for move in moves]).rowcount
    if swapped != len(moves):
        connection.execute("rollback to batch")
        connection.execute("release batch")
        return False
    connection.executemany(HISTORY, [_history_row(move) for move in moves])
    connection.executemany(OUTBOX, [_outbox_row(move.event, move.due_at) for move in moves])
    connection.execute("release batch")
    return True


def _store_one(connection: sqlite3.Connection, change: Change) -> Outcome:
    if isinstance(change, Move):
        return _move(connection, change)
    if isinstance(change, Mark):
        flags = (_flag(change.skipped), _flag(change.armed), change.started_by, change.run_id, change.version)
        changed = connection.execute(MARK, flags).rowcount
    else:
        changed = _emit(connection, change)
    return APPLIED if changed else Outcome(Verdict.CONFLICT, _present(connection, change.run_id))


def _move(connection: sqlite3.Connection, move: Move) -> Outcome:
    r = move.record
    if r.version == 1:
        changed = connection.execute(CREATE, _create_row(r)).rowcount
    else:
        changed = connection.execute(MOVE, _move_row(r)).rowcount
    if not changed:
        return _refused(connection, move)
    if move.erase:
        _erase(connection, r.run_id)
    connection.execute(HISTORY, _history_row(move))
    connection.execute(OUTBOX, _outbox_row(move.event, move.due_at))
    for write in move.on_commit:
        write(connection)
    return APPLIED


def _refused(connection: sqlite3.Connection, move: Move) -> Outcome:
    r = move.record
    if connection.execute(WROTE, (r.run_id, r.version, r.attempt_id)).fetchone():
        return ALREADY_APPLIED
    present = _present(connection, r.run_id)
    if present is None and r.version == 1:
        live = connection.execute(LIVE, (r.workflow_name, r.foreign_id)).fetchone()
        return Outcome(Verdict.IN_PROGRESS, None if live is None else record(live))
    return Outcome(Verdict.CONFLICT, present)


def _emit(connection: sqlite3.Connection, emit: Emit) -> int:
    swept = None if emit.swept_at is None else micros(emit.swept_at)
    changed = connection.execute(SWEPT, (swept, emit.run_id, emit.version)).rowcount
    if changed:
        connection.execute(OUTBOX, _outbox_row(emit.event, emit.due_at))
    return changed


def _erase(connection: sqlite3.Connection, run_id: str) -> None:
    rows = connection.execute("select version, data from history where run_id = ?", (run_id,)).fetchall()
    for version, data in rows:
        old = decode_record(data)
        kept = replace(old, object=b"", last_error="", meta=replace(old.meta, run_state_reason=""))
        sql = "update history set data = ? where run_id = ? and version = ?"
        connection.execute(sql, (encode(kept), run_id, version))
    for number, data in connection.execute("select id, data from dead_letters where run_id = ?", (run_id,)).fetchall():
        erased = replace(_decode_letter(data), data=b"", reason="")
        connection.execute("update dead_letters set data = ? where id = ?", (encode(erased), number))


def _create_row(r: Record) -> tuple[Any, ...]:
    return (
        r.run_id,
        r.workflow_name,
        r.foreign_id,
        int(r.run_state),
        r.status,
        r.version,
        r.visit,
        micros(r.created_at),
        micros(r.updated_at),
        micros(r.due_at),
        r.auto_paused,
        encode(unmarked(r)),
    )


def _move_row(r: Record) -> tuple[Any, ...]:
    return (
        int(r.run_state),
        r.status,
        r.version,
        r.visit,
        r.visit,
        micros(r.updated_at),
        micros(r.due_at),
        r.auto_paused,
        encode(unmarked(r)),
        r.run_id,
        r.version - 1,
    )


def _history_row(move: Move) -> tuple[Any, ...]:
    r = unmarked(move.record)
    return (r.run_id, r.version, r.status, r.attempt_id, encode(r if move.keep_object else replace(r, object=b"")))


def _outbox_row(event: Event, due_at: datetime | None) -> tuple[Any, ...]:
    return (event.workflow_name, None if due_at is None else micros(due_at), encode(event))


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _present(connection: sqlite3.Connection, run_id: str) -> Record | None:
    row = connection.execute(PRESENT, (run_id,)).fetchone()
    return None if row is None else record(row)


def _lookup(connection: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, Record]:
    found = {}
    for run_id in run_ids:
        if (present := _present(connection, run_id)) is not None:
            found[run_id] = present
    return found


def _list_query(query: RecordQuery) -> tuple[str, list[Any]]:
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
            conditions.append(f"{column} in ({', '.join('?' * len(values))})")
            arguments += values
    for bound, moment_ in (("created > ?", query.created_after), ("created < ?", query.created_before)):
        if moment_ is not None:
            conditions.append(bound)
            arguments.append(micros(moment_))
    direction = "desc" if query.order is Order.DESCENDING else "asc"
    sql = f"select {RECORD} from runs where {' and '.join(conditions)} order by seq {direction} limit ? offset ?"  # noqa: S608
    return sql, [*arguments, query.limit, query.offset]


def _outbox(
    connection: sqlite3.Connection, workflow_name: str, now: int, limit: int
) -> tuple[OutboxPage, list[tuple[int, bytes]]]:
    """The page, and the rows that do not decode. Each kind of event gets half of a full page."""
    first = "select id, due, data from outbox where workflow_name = ? and due is null order by id limit ?"
    later = "select id, due, data from outbox where workflow_name = ? and due <= ? order by due, id limit ?"
    due = connection.execute(later, (workflow_name, now, limit)).fetchall()
    rows = connection.execute(first, (workflow_name, max(limit - len(due), (limit + 1) // 2))).fetchall()
    rows += due[: limit - len(rows)]
    events, broken = [], []
    for number, due_at, data in rows:
        try:
            event = _decode_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            broken.append((number, data))
            continue
        events.append(OutboxEvent(id=str(number), event=event, due_at=None if due_at is None else moment(due_at)))
    ahead = "select min(due) from outbox where workflow_name = ? and due > ?"
    (upcoming,) = connection.execute(ahead, (workflow_name, now)).fetchone()
    return OutboxPage(tuple(events), None if upcoming is None else moment(upcoming)), broken


def _bury_rows(
    connection: sqlite3.Connection, workflow_name: str, rows: list[tuple[int, bytes]], now: datetime
) -> None:
    letters = [
        DeadLetter(workflow_name=workflow_name, source="outbox", data=data, reason="it does not decode", created_at=now)
        for _, data in rows
    ]
    _bury(connection, letters)
    connection.executemany("delete from outbox where id = ?", [(number,) for number, _ in rows])


def _bury(connection: sqlite3.Connection, letters: Sequence[DeadLetter]) -> None:
    rows = [(letter.workflow_name, letter.run_id, encode(letter)) for letter in letters]
    connection.executemany("insert into dead_letters (workflow_name, run_id, data) values (?, ?, ?)", rows)


# One branch for each status keeps the index in use, so that runs which owe nothing are not even read.
OWING = f"""
select {RECORD} from runs where workflow_name = ? and status = ? and run_state in (1, 2) and due < ?
    and (swept is null or ? - swept >= swept - due) and
"""  # noqa: S608
DELETING = f"""
select {RECORD} from runs where workflow_name = ? and run_state = 7 and due < ?
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


def _stalled(connection: sqlite3.Connection, query: StalledQuery) -> list[Record]:
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
    return heapq.nsmallest(query.limit, (record(row) for row in rows), key=lambda found: found.due_at)
