"""How values become columns, and rows become values again: records, versions, events.

Owns the order of the columns and the encoders. The columns keep the names of the first release, because processes of
both share a database during a deploy: `armed` is the mark timers_armed, `started_by` is claimed_by, `swept_at` is
reemitted_at; `reason` is the run state's, a version's own is `note` in `meta`.
"""

from collections.abc import Sequence

import msgspec

from workflow.protocols import (
    NO_MARKS,
    Event,
    Marks,
    Meta,
    NewVersion,
    Note,
    Record,
    RunState,
    Version,
    VersionCause,
)

from .moments import aware
from .server import Row

__all__ = [
    "RECORD_COLUMNS",
    "VERSION_COLUMNS",
    "columns",
    "decode_event",
    "encode_event",
    "note_columns",
    "record",
    "version",
    "version_row",
]

encode_event = msgspec.json.Encoder().encode
decode_event = msgspec.json.Decoder(Event).decode


class _StoredMeta(msgspec.Struct, frozen=True, omit_defaults=True):
    # The reason of the run state has a column of its own, because deleting a run's data erases it from the history.
    status_description: str = ""
    trace_origin: str = ""
    trace_context: dict[str, str] = {}
    cause: str = ""
    actor: str = ""
    note: str = ""


_encode_meta = msgspec.json.Encoder().encode
_decode_meta = msgspec.json.Decoder(_StoredMeta).decode

_STATES = {state.value: state for state in RunState}
_CAUSES = {cause.value: cause for cause in VersionCause}

RECORD_COLUMNS = """workflow_name, foreign_id, run_id, run_state, status, object, version, created_at, updated_at,
    due_at, visit, entered_at, step_version, attempt, last_error, attempt_id, auto_paused, reason, meta, skipped, armed,
    started_by, swept_at"""

VERSION_COLUMNS = """r.workflow_name, r.foreign_id, h.run_id, h.run_state, h.status, h.object, h.version, r.created_at,
    h.updated_at, h.due_at, h.visit, h.entered_at, h.step_version, h.attempt, h.last_error, h.attempt_id, h.auto_paused,
    h.reason, h.meta"""


def _meta(reason: str, data: bytes) -> Meta:
    stored = _decode_meta(data)
    return Meta(
        run_state_reason=reason,
        status_description=stored.status_description,
        trace_origin=stored.trace_origin,
        trace_context=stored.trace_context,
        cause=_CAUSES.get(stored.cause, VersionCause.UNKNOWN),
        actor=stored.actor,
        reason=stored.note,
    )


def _stored_meta(meta: Meta) -> bytes:
    return _encode_meta(
        _StoredMeta(
            meta.status_description,
            meta.trace_origin,
            meta.trace_context,
            meta.cause.value,
            meta.actor,
            meta.reason,
        )
    )


def record(row: Row) -> Record:
    """The record that a row of `RECORD_COLUMNS` holds."""
    skipped, armed, started_by, swept_at = row[19], row[20], row[21], row[22]
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
        due_at=row[9] if row[9].tzinfo is not None else aware(row[9]),
        visit=row[10],
        entered_at=row[11],
        step_version=row[12],
        attempt=row[13],
        last_error=row[14],
        attempt_id=row[15],
        auto_paused=row[16],
        meta=_meta(row[17], row[18]),
        marks=Marks(skipped=skipped, timers_armed=armed, claimed_by=started_by, reemitted_at=swept_at)
        if skipped or armed or started_by or swept_at is not None
        else NO_MARKS,
    )


def version(row: Row) -> Version:
    """The version that a row of `VERSION_COLUMNS` holds."""
    return Version(
        workflow_name=row[0],
        foreign_id=row[1],
        run_id=row[2],
        run_state=_STATES[row[3]],
        status=row[4],
        object=row[5],
        version=row[6],
        created_at=row[7],
        updated_at=row[8],
        due_at=row[9] if row[9].tzinfo is not None else aware(row[9]),
        visit=row[10],
        entered_at=row[11],
        step_version=row[12],
        attempt=row[13],
        last_error=row[14],
        attempt_id=row[15],
        auto_paused=row[16],
        meta=_meta(row[17], row[18]),
    )


def columns(rows: Sequence[Sequence[object]], width: int) -> list[Sequence[object]]:
    """The rows as columns, one array parameter each."""
    return list(zip(*rows, strict=True)) if rows else [()] * width


def version_row(change: NewVersion) -> Sequence[object]:
    """A new version as a value of the composite type `move`: binding one is half the work of 22 array elements."""
    new = change.record
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
        _stored_meta(meta),
        change.keep_object,
        encode_event(change.event),
        change.due_at,
        change.base_attempt,
    )


_NOTE_WIDTH = 9


def note_columns(notes: Sequence[Note]) -> list[Sequence[object]]:
    """The array parameters of the statement that writes notes."""
    return columns([_note_row(note) for note in notes], _NOTE_WIDTH)


def _note_row(note: Note) -> Sequence[object]:
    return (
        note.run_id,
        note.version,
        note.skipped,
        note.timers_armed,
        note.claimed_by,
        note.reemitted_at,
        None if note.event is None else encode_event(note.event),
        note.due_at,
        note.base_attempt,
    )
