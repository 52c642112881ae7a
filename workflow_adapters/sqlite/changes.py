"""Writing changes: the compare-and-swap, and everything that belongs into the same transaction.

New versions are written together, a statement for each table, as long as each of them meets the version it expects
and can be stored. If one does not, they are undone and written one by one, each under a savepoint of its own: so each
gets its own verdict, and one that is refused takes no other with it.
"""

import sqlite3
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from workflow.protocols import (
    ALREADY_APPLIED,
    APPLIED,
    Change,
    DeadLetter,
    Event,
    HeldCallback,
    NewVersion,
    Note,
    Outcome,
    Record,
    Verdict,
    refused,
)

from ..kit.sizes import LARGEST_OBJECT, check_size
from . import on_commit
from .checks import check_change, has_nul
from .jobs import meaning
from .rows import RECORD, decode_version, encode, encode_version, micros, record

__all__ = ["LIVE", "PRESENT", "store"]

_decode_letter = msgspec.msgpack.Decoder(DeadLetter).decode
_decode_callback = msgspec.msgpack.Decoder(HeldCallback).decode

# Creates a run, unless its run ID or a live run of its foreign ID exists.
_CREATE = """
insert into runs (run_id, workflow_name, foreign_id, run_state, status, version, visit, created, updated, due,
    auto_paused, whole, failing)
values (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing
"""
# The present version was written by the attempt that the change was made from ('': by any).
_BASE = "? in ('', (select attempt_id from history where run = seq and history.version = runs.version))"
# The compare-and-swap: the marks of the old version are cleared, armed timers stay within a visit. It changes nothing
# either if it would make a second live run of the foreign ID. Parameters are not numbered: Python 3.12 warns about it.
_REPLACE = f"""
update or ignore runs set status = ?, version = version + 1, armed = armed and visit = ?, visit = ?, updated = ?,
    due = ?, whole = ?, failing = ?, skipped = 0, started_by = '', swept = null, run_state = ?, auto_paused = ?
where run_id = ? and version = ? and {_BASE}
"""  # noqa: S608 - constants
# The same within a run state, which spares the indexes that tell run states apart.
_STAY = f"""
update runs set status = ?, version = version + 1, armed = armed and visit = ?, visit = ?, updated = ?, due = ?,
    whole = ?, failing = ?, skipped = 0, started_by = '', swept = null
where run_state = ? and auto_paused = ? and run_id = ? and version = ? and {_BASE}
"""  # noqa: S608 - constants
_HISTORY = """
insert into history (run, version, status, attempt_id, data) select seq, ?, ?, ?, ? from runs where run_id = ?
"""
_OUTBOX = "insert into outbox (workflow_name, due, data) values (?, ?, ?)"
PRESENT = f"select {RECORD} from present where run_id = ?"  # noqa: S608 - constants
LIVE = f"""
select {RECORD} from present where workflow_name = ? and foreign_id = ? and run_state in (1, 2, 3)
"""  # noqa: S608
_WROTE = """
select 1 from history where run = (select seq from runs where run_id = ?) and version = ? and attempt_id = ?
"""
_MARK = f"""
update runs set skipped = coalesce(?, skipped), armed = coalesce(?, armed), started_by = coalesce(?, started_by),
    swept = coalesce(?, swept)
where run_id = ? and version = ? and {_BASE}
"""  # noqa: S608 - constants
_IS_AT = f"select 1 from runs where run_id = ? and version = ? and {_BASE}"  # noqa: S608 - constants
_HELD = """
select number, data from held_callbacks where workflow_name = ? and foreign_id = ? and id = ? and taken is null
"""
_WAITING = "select number, data from held_callbacks where workflow_name = ? and foreign_id = ? and taken is null"
_TAKE = "update held_callbacks set taken = ?, data = ? where number = ?"


def store(connection: sqlite3.Connection, changes: Sequence[Change]) -> list[Outcome]:
    """Write the changes; the outcome of each, in order."""
    plain = [change for change in changes if isinstance(change, NewVersion) and _is_plain(change)]
    if len(plain) > 1 and _store_together(connection, plain):
        written = {id(change) for change in plain}
        return [APPLIED if id(change) in written else _store_apart(connection, change) for change in changes]
    if len(changes) == 1:
        return [_store_one(connection, changes[0], "job")]
    return [_store_apart(connection, change) for change in changes]


def _is_plain(change: NewVersion) -> bool:
    return not (change.erase or change.takes or change.on_commit or len(change.record.object) > LARGEST_OBJECT)


def _store_together(connection: sqlite3.Connection, changes: Sequence[NewVersion]) -> bool:
    """All versions in a few statements, if each can be written; else nothing is."""
    if any(has_nul(change) for change in changes):
        return False
    connection.execute("savepoint together")
    try:
        applied = _write_together(connection, changes)
    except Exception as error:  # noqa: BLE001 - each of them is judged by itself below
        _raise_if_unavailable(error)
        # One of them cannot be stored; writing them one by one tells which.
        applied = False
    if not applied:
        connection.execute("rollback to together")
    connection.execute("release together")
    return applied


def _write_together(connection: sqlite3.Connection, changes: Sequence[NewVersion]) -> bool:
    creations: list[tuple[Any, ...]] = []
    stays: list[tuple[Any, ...]] = []
    others: list[tuple[Any, ...]] = []
    history: list[tuple[Any, ...]] = []
    for change in changes:
        r = change.record
        data, whole = _blobs(change)
        history.append((r.version, r.status, r.attempt_id, data, r.run_id))
        if r.version == 1:
            creations.append(_create_row(r, whole))
        else:
            (stays if change.previous is r.run_state else others).append(_replace_row(change, whole))
    for sql, rows in ((_CREATE, creations), (_STAY, stays), (_REPLACE, others)):
        if rows and connection.executemany(sql, rows).rowcount != len(rows):
            return False
    connection.executemany(_HISTORY, history)
    connection.executemany(_OUTBOX, [_outbox_row(change.event, change.due_at) for change in changes])
    return True


def _store_apart(connection: sqlite3.Connection, change: Change) -> Outcome:
    """Write one change of several under a savepoint of its own."""
    connection.execute("savepoint change")
    outcome = _store_one(connection, change, "change")
    connection.execute("release change")
    return outcome


def _store_one(connection: sqlite3.Connection, change: Change, savepoint: str) -> Outcome:
    """Write one change; if anything of it fails, it is undone to this savepoint, behind which nothing else is."""
    try:
        if isinstance(change, NewVersion):
            outcome = _new_version(connection, change, savepoint)
        else:
            outcome = _note(connection, change)
    except on_commit.TransactionEnded:
        raise  # there is no savepoint any more to which it could be undone: everything is
    except Exception as error:  # noqa: BLE001 - it is the verdict of this change alone
        _raise_if_unavailable(error)
        outcome = refused(error)
    if outcome is not APPLIED:
        connection.execute(f"rollback to {savepoint}")
    return outcome


def _raise_if_unavailable(error: Exception) -> None:
    """Raise what says nothing about the data: the whole batch is undone, and is sent again."""
    found = meaning(error)
    if found is not error:
        raise found from error


def _new_version(connection: sqlite3.Connection, change: NewVersion, savepoint: str) -> Outcome:
    r = change.record
    check_size("object", len(r.object))
    if has_nul(change):
        check_change(change)
    try:
        data, whole = _blobs(change)
        outbox = _outbox_row(change.event, change.due_at)
        sql, row = (_CREATE, _create_row(r, whole)) if r.version == 1 else (_REPLACE, _replace_row(change, whole))
        written = connection.execute(sql, row).rowcount
    except (ValueError, OverflowError):
        check_change(change)  # names the field
        raise
    if not written:
        return _not_written(connection, change)
    if change.takes and not _take(connection, change):
        connection.execute(f"rollback to {savepoint}")
        return Outcome(Verdict.CONFLICT, _present(connection, r.run_id))
    if change.erase:
        _erase(connection, r)
    connection.execute(_HISTORY, (r.version, r.status, r.attempt_id, data, r.run_id))
    connection.execute(_OUTBOX, outbox)
    if change.on_commit:
        on_commit.call(connection, change.on_commit)
    return APPLIED


def _not_written(connection: sqlite3.Connection, change: NewVersion) -> Outcome:
    r = change.record
    if connection.execute(_WROTE, (r.run_id, r.version, r.attempt_id)).fetchone():
        return ALREADY_APPLIED
    present = _present(connection, r.run_id)
    is_base = present is None or change.base_attempt in ("", present.attempt_id)
    if is_base and (0 if present is None else present.version) == change.expects:
        # The version is the expected one, so another live run holds the foreign ID.
        live = connection.execute(LIVE, (r.workflow_name, r.foreign_id)).fetchone()
        return Outcome(Verdict.IN_PROGRESS, None if live is None else record(live))
    return Outcome(Verdict.CONFLICT, present)


def _note(connection: sqlite3.Connection, note: Note) -> Outcome:
    try:
        event = None if note.event is None else _outbox_row(note.event, note.due_at)
        check_change(note)
        if note.marks_anything:
            swept = None if note.reemitted_at is None else micros(note.reemitted_at)
            marks = (note.skipped, note.timers_armed, note.claimed_by, swept)
            found = connection.execute(_MARK, (*marks, note.run_id, note.version, note.base_attempt)).rowcount > 0
        else:
            found = connection.execute(_IS_AT, (note.run_id, note.version, note.base_attempt)).fetchone() is not None
    except (ValueError, OverflowError):
        check_change(note)  # names the field
        raise
    if not found:
        return Outcome(Verdict.CONFLICT, _present(connection, note.run_id))
    if event is not None:
        connection.execute(_OUTBOX, event)
    return APPLIED


def _take(connection: sqlite3.Connection, change: NewVersion) -> bool:
    """Mark held callbacks as taken and drop their payloads; False if one of them is not held any more."""
    r, now = change.record, time.time_ns() // 1000
    for id_ in dict.fromkeys(change.takes):
        row = connection.execute(_HELD, (r.workflow_name, r.foreign_id, id_)).fetchone()
        if row is None:
            return False
        taken = replace(_decode_callback(row[1]), taken_by=r.run_id, payload=b"")
        connection.execute(_TAKE, (now, encode(taken), row[0]))
    return True


def _erase(connection: sqlite3.Connection, r: Record) -> None:
    """Erase the texts of the run's history and of its dead letters, but not that they were there; and what waits."""
    run_id = r.run_id
    sql = "select id, data from history where run = (select seq from runs where run_id = ?)"
    for number, data in connection.execute(sql, (run_id,)).fetchall():
        old = decode_version(data)
        kept = replace(old, object=b"", last_error="", meta=replace(old.meta, run_state_reason="", reason=""))
        connection.execute("update history set data = ? where id = ?", (encode(kept), number))
    for number, data in connection.execute("select id, data from dead_letters where run_id = ?", (run_id,)).fetchall():
        erased = replace(_decode_letter(data), data=b"", reason="")
        connection.execute("update dead_letters set data = ? where id = ?", (encode(erased), number))
    for number, data in connection.execute(_WAITING, (r.workflow_name, r.foreign_id)).fetchall():
        if _decode_callback(data).run_id == run_id:
            connection.execute("delete from held_callbacks where number = ?", (number,))
    if isinstance(connection, on_commit.GuardedConnection):
        connection.has_erased = True


def _blobs(change: NewVersion) -> tuple[bytes, bytes | None]:
    """The history's blob, and the whole version where the history has it without the object."""
    r = change.record
    if change.keep_object:
        return encode_version(r, r.object), None
    return encode_version(r, b""), encode_version(r, r.object)


def _create_row(r: Record, whole: bytes | None) -> tuple[Any, ...]:
    created, updated, due = micros(r.created_at), micros(r.updated_at), micros(r.due_at)
    names = (r.run_id, r.workflow_name, r.foreign_id)
    state = (int(r.run_state), r.status, r.visit)
    return (*names, *state, created, updated, due, r.auto_paused, whole, _failing(r))


def _replace_row(change: NewVersion, whole: bytes | None) -> tuple[Any, ...]:
    r = change.record
    updated, due, state = micros(r.updated_at), micros(r.due_at), int(r.run_state)
    new = (r.status, r.visit, r.visit, updated, due, whole, _failing(r))
    return (*new, state, r.auto_paused, r.run_id, r.version - 1, change.base_attempt)


def _failing(r: Record) -> int | None:
    """The version, if its step has failed before."""
    return r.version if r.attempt > 1 else None


def _outbox_row(event: Event, due_at: datetime | None) -> tuple[Any, ...]:
    return (event.workflow_name, None if due_at is None else micros(due_at), encode(event))


def _present(connection: sqlite3.Connection, run_id: str) -> Record | None:
    row = connection.execute(PRESENT, (run_id,)).fetchone()
    return None if row is None else record(row)
