"""Stored values: any store can hold them; and the rule about marks."""

import msgspec

from workflow import (
    Meta,
    Record,
)
from workflow._model.timer import TimeoutRecord


def test_a_record_knows_neither_object_type_nor_enum() -> None:
    """R-MODEL-2, R-MODEL-3, R-MODEL-17, R-MODEL-18: any store can hold it."""
    fields = {field.name: field.type for field in msgspec.structs.fields(Record)}
    assert {"workflow_name", "foreign_id", "run_id", "run_state", "created_at", "updated_at", "meta"} < set(fields)
    assert (fields["status"], fields["object"], fields["version"]) == (int, bytes, int)
    assert {"run_state_reason", "status_description", "trace_origin"} < {f.name for f in msgspec.structs.fields(Meta)}
    timer = {field.name for field in msgspec.structs.fields(TimeoutRecord)}
    assert {"id", "workflow_name", "foreign_id", "run_id", "status", "completed", "expire_at", "created_at"} < timer
