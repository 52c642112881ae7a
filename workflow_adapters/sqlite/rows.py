"""Between values and rows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from workflow.protocols import Change, Mark, NewVersion, Record

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
LARGEST = 2**63 - 1

encode = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(Record).decode

RECORD = "data, skipped, armed, started_by, swept"
"""The columns from which a present record is read."""


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


def moment(value: int) -> datetime:
    """The moment of so many microseconds since 1970, in UTC."""
    return EPOCH + timedelta(microseconds=value)


def record(row: tuple[Any, ...]) -> Record:
    """The present record, from the columns `RECORD`."""
    data, skipped, armed, started_by, swept = row
    found = decode_record(data)
    if skipped or armed or started_by or swept is not None:
        return replace(
            found,
            skipped=bool(skipped),
            armed=bool(armed),
            started_by=started_by,
            swept_at=None if swept is None else moment(swept),
        )
    return found


def unmarked(r: Record) -> Record:
    """The record without what lives in columns of its own."""
    if r.skipped or r.armed or r.started_by or r.swept_at is not None:
        return replace(r, skipped=False, armed=False, started_by="", swept_at=None)
    return r


def check(change: Change) -> None:
    """Refuse what the file cannot hold.

    Raises:
        ValueError: names the field.
    """
    if isinstance(change, NewVersion):
        r = change.record
        text("workflow_name", r.workflow_name)
        text("foreign_id", r.foreign_id)
        text("run_id", r.run_id)
        text("attempt_id", r.attempt_id)
        text("last_error", r.last_error)
        text("meta.run_state_reason", r.meta.run_state_reason)
        text("meta.trace_origin", r.meta.trace_origin)
        number("status", r.status)
        number("version", r.version)
    else:
        text("run_id", change.run_id)
        if isinstance(change, Mark) and change.started_by:
            text("started_by", change.started_by)


def text(field: str, value: str) -> None:
    """Refuse text that a database cannot hold."""
    if "\x00" in value:
        raise ValueError(f"{field} must not contain NUL: {value!r}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{field} is not valid Unicode: {value!r}") from error


def number(field: str, value: int) -> None:
    """Refuse integers beyond 64 bits."""
    if not -LARGEST - 1 <= value <= LARGEST:
        raise ValueError(f"{field} must fit into 64 bits: {value!r}")
