"""Writing changes: the compare-and-swap, and what belongs into the same transaction.

Moves are written together, a statement for each table, as long as every one of them meets the version it expects; if
one does not, they are undone and written one by one, which tells who met what.
"""

import sqlite3
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from workflow.protocols import (
    ALREADY_APPLIED,
    APPLIED,
    Change,
    DeadLetter,
    Emit,
    Event,
    Mark,
    NewVersion,
    Outcome,
    Record,
    Verdict,
)

from .rows import RECORD, decode_record, encode, micros, record, unmarked

_decode_letter = msgspec.msgpack.Decoder(DeadLetter).decode

# Creates a run, unless its run ID or a live run of its foreign ID exists.
CREATE = """
insert into runs (run_id, workflow_name, foreign_id, run_state, status, version, visit, created, updated, due,
    auto_paused, whole)
values (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?) on conflict do nothing
"""
# The compare-and-swap: what belongs to the old version is cleared, armed timers stay within a visit.
MOVE = """
update runs set status = ?1, version = ?2 + 1, armed = armed and visit = ?3, visit = ?3, updated = ?4, due = ?5,
    whole = ?6, skipped = 0, started_by = '', swept = null, run_state = ?7, auto_paused = ?8
where run_id = ?9 and version = ?2
"""
# The same within a run state, which spares the indexes that tell run states apart.
STAY = """
update runs set status = ?1, version = ?2 + 1, armed = armed and visit = ?3, visit = ?3, updated = ?4, due = ?5,
    whole = ?6, skipped = 0, started_by = '', swept = null
where run_id = ?9 and version = ?2 and run_state = ?7 and auto_paused = ?8
"""
HISTORY = """
insert into history (run, version, status, attempt_id, data) select seq, ?2, ?3, ?4, ?5 from runs where run_id = ?1
"""
OUTBOX = "insert into outbox (workflow_name, due, data) values (?, ?, ?)"
PRESENT = f"select {RECORD} from present where run_id = ?"  # noqa: S608 - constants
WROTE = """
select 1 from history where run = (select seq from runs where run_id = ?) and version = ? and attempt_id = ?
"""
LIVE = f"""
select {RECORD} from present where workflow_name = ? and foreign_id = ? and run_state in (1, 2, 3)
"""  # noqa: S608
MARK = """
update runs set skipped = coalesce(?, skipped), armed = coalesce(?, armed), started_by = coalesce(?, started_by)
where run_id = ? and version = ?
"""
# An emission is guarded by the version too; swept stays when the emission is no sweep.
SWEPT = "update runs set swept = coalesce(?, swept) where run_id = ? and version = ?"


def store(connection: sqlite3.Connection, changes: Sequence[Change]) -> list[Outcome]:
    """Write the changes; the outcome of each, in order."""
    moves = [change for change in changes if _is_plain(change)]
    written = len(moves) > 1 and _store_at_once(connection, moves)
    return [APPLIED if written and _is_plain(change) else _store_one(connection, change) for change in changes]


def _is_plain(change: Change) -> bool:
    return isinstance(change, NewVersion) and not (change.erase or change.on_commit)


def _store_at_once(connection: sqlite3.Connection, changes: Sequence[Any]) -> bool:
    """All moves in a few statements, if each meets the version it expects; else nothing is written."""
    moves: Sequence[NewVersion] = changes
    creations: list[tuple[Any, ...]] = []
    stays: list[tuple[Any, ...]] = []
    others: list[tuple[Any, ...]] = []
    history: list[tuple[Any, ...]] = []
    for move in moves:
        r = move.record
        data, whole = _blobs(move)
        history.append((r.run_id, r.version, r.status, r.attempt_id, data))
        if r.version == 1:
            creations.append(_create_row(r, whole))
        else:
            (stays if move.previous is r.run_state else others).append(_move_row(r, whole))
    connection.execute("savepoint together")
    for sql, rows in ((CREATE, creations), (STAY, stays), (MOVE, others)):
        if rows and connection.executemany(sql, rows).rowcount != len(rows):
            connection.execute("rollback to together")
            connection.execute("release together")
            return False
    connection.executemany(HISTORY, history)
    connection.executemany(OUTBOX, [_outbox_row(move.event, move.due_at) for move in moves])
    connection.execute("release together")
    return True


def _store_one(connection: sqlite3.Connection, change: Change) -> Outcome:
    if isinstance(change, NewVersion):
        return _move(connection, change)
    if isinstance(change, Mark):
        flags = (change.skipped, change.armed, change.started_by, change.run_id, change.version)
        changed = connection.execute(MARK, flags).rowcount
    else:
        changed = _emit(connection, change)
    return APPLIED if changed else Outcome(Verdict.CONFLICT, _present(connection, change.run_id))


def _move(connection: sqlite3.Connection, move: NewVersion) -> Outcome:
    r = move.record
    data, whole = _blobs(move)
    sql, row = (CREATE, _create_row(r, whole)) if r.version == 1 else (MOVE, _move_row(r, whole))
    if not connection.execute(sql, row).rowcount:
        return _refused(connection, move)
    if move.erase:
        _erase(connection, r.run_id)
    connection.execute(HISTORY, (r.run_id, r.version, r.status, r.attempt_id, data))
    connection.execute(OUTBOX, _outbox_row(move.event, move.due_at))
    if move.on_commit:
        _call(connection, move)
    return APPLIED


def _call(connection: sqlite3.Connection, move: NewVersion) -> None:
    """The user's functions; the transaction is not theirs to end."""
    connection.set_authorizer(_no_transactions)
    try:
        for write in move.on_commit:
            result = write(connection)
            if isinstance(result, Coroutine):
                # It would never run, and its rows would be missing without a word.
                result.close()
                raise TypeError(f"on_commit: {write!r} must be a plain function, SQLite calls it in a thread")
    finally:
        connection.set_authorizer(None)


def _no_transactions(action: int, *_: object) -> int:
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_OK


def _refused(connection: sqlite3.Connection, move: NewVersion) -> Outcome:
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
    """What the run's history and dead letters say, except that it was there."""
    sql = "select id, data from history where run = (select seq from runs where run_id = ?)"
    for number, data in connection.execute(sql, (run_id,)).fetchall():
        old = decode_record(data)
        kept = replace(old, object=b"", last_error="", meta=replace(old.meta, run_state_reason=""))
        connection.execute("update history set data = ? where id = ?", (encode(kept), number))
    for number, data in connection.execute("select id, data from dead_letters where run_id = ?", (run_id,)).fetchall():
        erased = replace(_decode_letter(data), data=b"", reason="")
        connection.execute("update dead_letters set data = ? where id = ?", (encode(erased), number))


def _blobs(move: NewVersion) -> tuple[bytes, bytes | None]:
    """What the history holds, and the whole record if that is more."""
    r = unmarked(move.record)
    if move.keep_object:
        return encode(r), None
    return encode(replace(r, object=b"")), encode(r)


def _create_row(r: Record, whole: bytes | None) -> tuple[Any, ...]:
    created, updated, due = micros(r.created_at), micros(r.updated_at), micros(r.due_at)
    names = (r.run_id, r.workflow_name, r.foreign_id)
    return (*names, int(r.run_state), r.status, r.visit, created, updated, due, r.auto_paused, whole)


def _move_row(r: Record, whole: bytes | None) -> tuple[Any, ...]:
    updated, due = micros(r.updated_at), micros(r.due_at)
    return (r.status, r.version - 1, r.visit, updated, due, whole, int(r.run_state), r.auto_paused, r.run_id)


def _outbox_row(event: Event, due_at: datetime | None) -> tuple[Any, ...]:
    return (event.workflow_name, None if due_at is None else micros(due_at), encode(event))


def _present(connection: sqlite3.Connection, run_id: str) -> Record | None:
    row = connection.execute(PRESENT, (run_id,)).fetchone()
    return None if row is None else record(row)
