"""Between values and rows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from workflow.protocols import NO_MARKS, Marks, Record, Version

__all__ = [
    "RECORD",
    "decode_version",
    "encode",
    "encode_version",
    "micros",
    "moment",
    "record",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

encode = msgspec.msgpack.Encoder().encode
decode_version = msgspec.msgpack.Decoder(Version).decode
_decode_record = msgspec.msgpack.Decoder(Record).decode

RECORD = "data, skipped, armed, started_by, swept"
"""The columns from which a present record is read."""


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """The moment of so many microseconds since 1970, in UTC."""
    return _EPOCH + timedelta(microseconds=value)


def record(row: tuple[Any, ...]) -> Record:
    """The present record, from the columns `RECORD`."""
    data, skipped, armed, started_by, swept = row
    found = _decode_record(data)
    if skipped or armed or started_by or swept is not None:
        marks = Marks(
            skipped=bool(skipped),
            timers_armed=bool(armed),
            claimed_by=started_by,
            reemitted_at=None if swept is None else moment(swept),
        )
        return replace(found, marks=marks)
    return found


def encode_version(r: Record, data: bytes) -> bytes:
    """The version with this object, without marks: they have columns of their own."""
    if data is r.object and r.marks is NO_MARKS:
        # Fields with their defaults are left out, marks too: no version need be made.
        return encode(r)
    return encode(
        Version(
            workflow_name=r.workflow_name,
            foreign_id=r.foreign_id,
            run_id=r.run_id,
            run_state=r.run_state,
            status=r.status,
            object=data,
            version=r.version,
            created_at=r.created_at,
            updated_at=r.updated_at,
            due_at=r.due_at,
            visit=r.visit,
            entered_at=r.entered_at,
            step_version=r.step_version,
            attempt=r.attempt,
            last_error=r.last_error,
            attempt_id=r.attempt_id,
            auto_paused=r.auto_paused,
            meta=r.meta,
        )
    )
