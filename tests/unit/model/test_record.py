"""Stored values: any store can hold them; and the rule about marks."""

from datetime import UTC, datetime

import msgspec
import pytest
from msgspec.structs import asdict, replace

from workflow import (
    Meta,
    Record,
    Version,
    VersionCause,
)
from workflow._model.record import NO_MARKS, Marks
from workflow._model.timer import TimeoutRecord
from workflow_adapters.conformance._values import created


def test_a_record_knows_neither_object_type_nor_enum() -> None:
    """R-MODEL-2, R-MODEL-3, R-MODEL-17, R-MODEL-18: any store can hold it."""
    fields = {field.name: field.type for field in msgspec.structs.fields(Record)}
    assert {"workflow_name", "foreign_id", "run_id", "run_state", "created_at", "updated_at", "meta"} < set(fields)
    assert (fields["status"], fields["object"], fields["version"]) == (int, bytes, int)
    assert {"run_state_reason", "status_description", "trace_origin"} < {f.name for f in msgspec.structs.fields(Meta)}
    timer = {field.name for field in msgspec.structs.fields(TimeoutRecord)}
    assert {"id", "workflow_name", "foreign_id", "run_id", "status", "completed", "expire_at", "created_at"} < timer


ALL_MARKS = Marks(skipped=True, timers_armed=True, claimed_by="me", reemitted_at=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("armed", [True, False])
@pytest.mark.parametrize("same_visit", [True, False])
def test_of_all_marks_only_armed_timers_last_and_only_within_their_visit(armed: bool, same_visit: bool) -> None:
    after = replace(ALL_MARKS, timers_armed=armed).after(same_visit=same_visit)
    assert after == Marks(timers_armed=armed and same_visit)
    assert NO_MARKS.after(same_visit=same_visit) == NO_MARKS


def test_a_version_is_the_record_without_its_marks() -> None:
    record = first_of_run(marks=ALL_MARKS)
    version = record.as_version()
    assert type(version) is Version
    assert {name: getattr(record, name) for name in Version.__struct_fields__} == asdict(version)
    assert set(Record.__struct_fields__) - set(Version.__struct_fields__) == {"marks"}


def test_a_cause_is_the_text_that_is_stored_and_one_of_a_later_release_is_none() -> None:
    """Stored histories are read for ever: the texts never change."""
    assert {cause.name: str(cause) for cause in VersionCause} == {
        "UNKNOWN": "",
        "TRIGGER": "trigger",
        "STEP": "step",
        "CALLBACK": "callback",
        "TIMEOUT": "timeout",
        "FAILURE": "failure",
        "CRASH": "crash",
        "PAUSE": "pause",
        "RESUME": "resume",
        "CANCEL": "cancel",
        "DELETE": "delete",
        "RETRY": "retry",
        "MOVE": "move",
        "REWIND": "rewind",
        "EDIT": "edit",
        "RESTART": "restart",
        "SWEEP": "sweep",
    }
    with pytest.raises(ValueError, match="fortnight"):
        VersionCause("fortnight")


def first_of_run(**fields: object) -> Record:
    return replace(created("run").record, **fields)
