"""How values become columns, and rows become values again.

Owns the order of the columns, the encoders, and the check that names the field Postgres cannot hold.
"""

from collections.abc import Iterable, Sequence

import msgspec

from workflow.protocols import Change, DeadLetter, Emit, Event, Mark, Meta, NewVersion, Record, RunState, TimeoutRecord

from .connections import Row

__all__ = [
    "HISTORY_COLUMNS",
    "RECORD_COLUMNS",
    "check_change",
    "check_event",
    "check_text",
    "decode_event",
    "encode_event",
    "move_row",
    "note_columns",
    "record",
]

encode_event = msgspec.json.Encoder().encode
decode_event = msgspec.json.Decoder(Event).decode

_LONGEST_NAME = 1000
"""Bytes of a name, foreign ID or run ID: two of them must fit into one index entry (2,704 bytes)."""

_INT4 = range(-(2**31), 2**31)
_INT8 = range(-(2**63), 2**63)


class _StoredMeta(msgspec.Struct, frozen=True, omit_defaults=True):
    # The reason has a column of its own, because deleting a run's data erases it from the history.
    status_description: str = ""
    trace_origin: str = ""
    trace_context: dict[str, str] = {}


_encode_meta = msgspec.json.Encoder().encode
_decode_meta = msgspec.json.Decoder(_StoredMeta).decode

_STATES = {state.value: state for state in RunState}

RECORD_COLUMNS = """workflow_name, foreign_id, run_id, run_state, status, object, version, created_at, updated_at,
    due_at, visit, entered_at, step_version, attempt, last_error, attempt_id, auto_paused, skipped, armed, started_by,
    swept_at, reason, meta"""

HISTORY_COLUMNS = """r.workflow_name, r.foreign_id, h.run_id, h.run_state, h.status, h.object, h.version, r.created_at,
    h.updated_at, h.due_at, h.visit, h.entered_at, h.step_version, h.attempt, h.last_error, h.attempt_id, h.auto_paused,
    false, false, '', null, h.reason, h.meta"""


def _meta(reason: str, data: bytes) -> Meta:
    stored = _decode_meta(data)
    return Meta(
        run_state_reason=reason,
        status_description=stored.status_description,
        trace_origin=stored.trace_origin,
        trace_context=stored.trace_context,
    )


def record(row: Row) -> Record:
    """The record that a row of `RECORD_COLUMNS` or `HISTORY_COLUMNS` holds."""
    return Record(
        workflow_name=row[0],
        foreign_id=row[1],
        run_id=row[2],
        run_state=_STATES[row[3]],
        status=row[4],
        object=row[5],
        version=row[6],
        created_at=row[7],
        updated_at=row[8],
        due_at=row[9],
        visit=row[10],
        entered_at=row[11],
        step_version=row[12],
        attempt=row[13],
        last_error=row[14],
        attempt_id=row[15],
        auto_paused=row[16],
        skipped=row[17],
        armed=row[18],
        started_by=row[19],
        swept_at=row[20],
        meta=_meta(row[21], row[22]),
    )


def columns(rows: Sequence[Sequence[object]], width: int) -> list[Sequence[object]]:
    """The rows as columns, one array parameter each."""
    return list(zip(*rows, strict=True)) if rows else [()] * width


def move_row(move: NewVersion) -> Sequence[object]:
    """A move as a value of the composite type `move`: binding one is half the work of one element of 22 arrays."""
    new = move.record
    meta = new.meta
    return (
        new.run_id,
        new.workflow_name,
        new.foreign_id,
        int(new.run_state),
        new.status,
        new.object,
        new.version,
        new.created_at,
        new.updated_at,
        new.due_at,
        new.visit,
        new.entered_at,
        new.step_version,
        new.attempt,
        new.last_error,
        new.attempt_id,
        new.auto_paused,
        meta.run_state_reason,
        _encode_meta(_StoredMeta(meta.status_description, meta.trace_origin, meta.trace_context)),
        move.keep_object,
        encode_event(move.event),
        move.due_at,
    )


_NOTE_WIDTH = 8


def note_columns(notes: Sequence[Mark | Emit]) -> list[Sequence[object]]:
    """The array parameters of the statement that writes marks and emissions."""
    return columns([_note_row(note) for note in notes], _NOTE_WIDTH)


def _note_row(note: Mark | Emit) -> Sequence[object]:
    if isinstance(note, Mark):
        return (note.run_id, note.version, note.skipped, note.armed, note.started_by, None, None, None)
    return (note.run_id, note.version, None, None, None, note.swept_at, encode_event(note.event), note.due_at)


def check_text(field: str, value: str, longest: int | None = None) -> None:
    """Refuse what a text column cannot hold.

    Raises:
        ValueError: NUL, a lone surrogate, or more than `longest` bytes.
    """
    if "\0" in value:
        raise ValueError(f"{field}: Postgres cannot store the character NUL in text: {value[:80]!r}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{field}: not text: it holds a lone surrogate: {value[:80]!r}") from error
    if longest is not None and size > longest:
        raise ValueError(f"{field}: {size:,} bytes, at most {longest:,} can be stored: {value[:80]!r}…")


def _check_number(field: str, value: int, allowed: range) -> None:
    if value not in allowed:
        raise ValueError(f"{field}: {value} is out of range: {allowed.start} to {allowed.stop - 1}")


def check_change(change: Change) -> None:
    """Name the field of a change that the database refused.

    Raises:
        ValueError: Postgres cannot hold one of the fields.
    """
    check_text("run_id", change.run_id, _LONGEST_NAME)
    if isinstance(change, Mark):
        check_text("started_by", change.started_by or "")
        return
    if isinstance(change, NewVersion):
        _check_record(change.record)
    check_event(change.event)


def check_event(event: Event) -> None:
    """Name the field of an event that the database refused.

    Raises:
        ValueError: Postgres cannot hold one of the fields.
    """
    for field in ("topic", "workflow_name", "run_id", "foreign_id", "consumer"):
        check_text(f"event.{field}", getattr(event, field), _LONGEST_NAME)


def _check_record(new: Record) -> None:
    for field in ("workflow_name", "foreign_id", "attempt_id"):
        check_text(field, getattr(new, field), _LONGEST_NAME)
    check_text("last_error", new.last_error)
    check_text("meta.run_state_reason", new.meta.run_state_reason)
    check_text("meta.status_description", new.meta.status_description)
    check_text("meta.trace_origin", new.meta.trace_origin)
    for header, value in new.meta.trace_context.items():
        check_text("meta.trace_context", header)
        check_text("meta.trace_context", value)
    _check_number("status", new.status, _INT8)
    for field in ("version", "visit", "step_version", "attempt"):
        _check_number(field, getattr(new, field), _INT4)


def check_timeout(timer: TimeoutRecord) -> None:
    """Name the field of a timer that the database refused.

    Raises:
        ValueError: Postgres cannot hold one of the fields.
    """
    for field in ("id", "workflow_name", "foreign_id", "run_id"):
        check_text(field, getattr(timer, field), _LONGEST_NAME)
    check_text("last_error", timer.last_error)
    _check_number("status", timer.status, _INT8)
    for field in ("visit", "timer", "attempt", "claims"):
        _check_number(field, getattr(timer, field), _INT4)


LETTER_COLUMNS = "id, workflow_name, source, run_id, data, reason, created_at"


def letter(row: Row) -> DeadLetter:
    """The dead letter that a row of `LETTER_COLUMNS` holds."""
    return DeadLetter(
        id=str(row[0]),
        workflow_name=row[1],
        source=row[2],
        run_id=row[3],
        data=row[4],
        reason=row[5],
        created_at=row[6],
    )


def letter_columns(letters: Iterable[DeadLetter]) -> list[Sequence[object]]:
    """The array parameters of the statement that keeps dead letters."""
    rows = [(one.workflow_name, one.source, one.run_id, one.data, one.reason, one.created_at) for one in letters]
    return columns(rows, 6)
