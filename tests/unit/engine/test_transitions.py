"""How one version follows another: what each transition changes, and what it leaves as it was."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import asdict, replace

from workflow._engine.transitions import MAX_ERROR_BYTES, Transitions, clip
from workflow._model.change import NewVersion
from workflow._model.graph import StatusGraph
from workflow._model.record import NO_MARKS, Marks, Record, Stamp, VersionCause
from workflow._model.run_state import RunState
from workflow.errors import InvalidRunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def graph() -> StatusGraph:
    made = StatusGraph()
    for edge in ((1, 2), (2, 2), (2, 3)):
        made.add(*edge)
    return made


TRANSITIONS = Transitions("my w", graph(), "status {}".format, {2: MINUTE})
LATER = Stamp(at=NOW + SECOND, attempt_id="attempt", cause=VersionCause.STEP, actor="actor", reason="reason")


def triggered(*, status: int = 1, start_at: datetime | None = None) -> NewVersion:
    return TRANSITIONS.triggered(
        foreign_id="key",
        run_id="run",
        status=status,
        data=b"1",
        stamp=Stamp(at=NOW, attempt_id="run", cause=VersionCause.TRIGGER, actor="starter", reason="why"),
        start_at=start_at,
        trace_origin="here",
        trace_context={"traceparent": "00"},
    )


def running(**fields: object) -> Record:
    """A run in the middle of its life: version 5, its second attempt in a visit that began at version 3."""
    record = replace(
        triggered().record,
        run_state=RunState.RUNNING,
        status=2,
        version=5,
        visit=3,
        entered_at=NOW - MINUTE,
        step_version=4,
        attempt=2,
        last_error="boom",
        due_at=NOW + MINUTE,
        object=b"5",
        marks=Marks(skipped=True, timers_armed=True, claimed_by="someone", reemitted_at=NOW),
    )
    return replace(record, **fields)


PAUSED = running(run_state=RunState.PAUSED, auto_paused=True)
CANCELLED = running(run_state=RunState.CANCELLED)
ASKED = running(run_state=RunState.REQUESTED_DATA_DELETED)

FOLLOWING: dict[str, Callable[[], tuple[Record, NewVersion]]] = {
    "moved": lambda: (running(), TRANSITIONS.moved(running(), 3, b"6", LATER)),
    "repeated": lambda: (running(), TRANSITIONS.repeated(running(), b"6", LATER)),
    "failed": lambda: (running(), TRANSITIONS.failed(running(), "again", MINUTE, LATER)),
    "paused": lambda: (running(), TRANSITIONS.stopped(running(), RunState.PAUSED, "look", LATER)),
    "cancelled": lambda: (running(), TRANSITIONS.stopped(running(), RunState.CANCELLED, "enough", LATER)),
    "resumed": lambda: (PAUSED, TRANSITIONS.resumed(PAUSED, LATER)),
    "deletion requested": lambda: (CANCELLED, TRANSITIONS.deletion_requested(CANCELLED, "wish", LATER)),
    "deleted": lambda: (ASKED, TRANSITIONS.deleted(ASKED, b"kept", LATER)),
}


@pytest.mark.parametrize("name", FOLLOWING)
def test_every_version_follows_the_one_before_and_says_who_made_it(name: str) -> None:
    before, change = FOLLOWING[name]()
    record = change.record
    assert (change.run_id, change.expects, record.version) == ("run", 5, 6)
    assert change.previous is before.run_state
    assert (record.updated_at, record.attempt_id) == (LATER.at, "attempt")
    assert (record.meta.cause, record.meta.actor, record.meta.reason) == (VersionCause.STEP, "actor", "reason")
    kept = ("workflow_name", "foreign_id", "run_id", "created_at")
    assert [getattr(record, field) for field in kept] == [getattr(before, field) for field in kept]
    assert (record.meta.trace_origin, record.meta.trace_context) == ("here", {"traceparent": "00"})


@pytest.mark.parametrize("name", FOLLOWING)
def test_every_version_has_its_event(name: str) -> None:
    _, change = FOLLOWING[name]()
    record, event = change.record, change.event
    assert (event.workflow_name, event.run_id, event.foreign_id) == ("my w", "run", "key")
    assert (event.version, event.status, event.run_state) == (record.version, record.status, record.run_state)
    assert event.created_at == record.updated_at
    assert (event.consumer, event.attempt) == ("", 1)
    assert change.due_at == (record.due_at if record.due_at > record.updated_at else None)


@pytest.mark.parametrize("name", FOLLOWING)
def test_within_a_visit_its_timers_stay_armed_and_all_other_marks_are_cleared(name: str) -> None:
    before, change = FOLLOWING[name]()
    same_visit = name != "moved"
    assert (change.record.visit == before.visit) is same_visit
    assert change.record.marks == (Marks(timers_armed=True) if same_visit else NO_MARKS)


def test_a_run_without_marks_has_none_afterwards() -> None:
    assert TRANSITIONS.repeated(running(marks=NO_MARKS), b"", LATER).record.marks is NO_MARKS


@pytest.mark.parametrize("name", FOLLOWING)
def test_only_an_erasure_erases_and_only_a_failure_keeps_no_object(name: str) -> None:
    _, change = FOLLOWING[name]()
    assert change.erase is (name == "deleted")
    assert change.keep_object is (name != "failed")
    assert (change.takes, change.on_commit) == ((), ())


def test_a_trigger_makes_the_first_version() -> None:
    change = triggered()
    record = change.record
    assert change.expects == 0
    assert (record.version, record.visit, record.step_version, record.attempt) == (1, 1, 1, 1)
    assert (record.run_state, record.status, record.object) == (RunState.INITIATED, 1, b"1")
    assert record.created_at == record.updated_at == record.entered_at == record.due_at == NOW
    assert record.meta.status_description == "status 1"
    assert (record.meta.cause, record.meta.actor, record.meta.reason) == (VersionCause.TRIGGER, "starter", "why")
    assert (change.event.topic, change.due_at, change.previous) == ("my_w-1", None, RunState.UNKNOWN)


@pytest.mark.parametrize(
    ("status", "start_at", "due_at"),
    [
        (1, NOW + MINUTE, NOW + MINUTE),
        (1, NOW - MINUTE, None),
        (2, None, NOW + MINUTE),
        (2, NOW + SECOND, NOW + MINUTE),
        (2, NOW + 2 * MINUTE, NOW + 2 * MINUTE),
        (3, NOW + MINUTE, None),
    ],
)
def test_a_start_in_the_future_and_a_consume_lag_hold_the_first_event_back(
    status: int, start_at: datetime | None, due_at: datetime | None
) -> None:
    assert triggered(status=status, start_at=start_at).due_at == due_at


def test_a_run_that_starts_at_a_terminal_status_is_completed() -> None:
    change = triggered(status=3)
    assert change.record.run_state is RunState.COMPLETED
    assert change.event.topic == "my_w-run-state-change"


def test_a_move_begins_a_visit_and_a_step() -> None:
    record = TRANSITIONS.moved(running(status=1), 2, b"6", LATER).record
    assert (record.status, record.object, record.run_state) == (2, b"6", RunState.RUNNING)
    assert (record.visit, record.step_version, record.attempt, record.last_error) == (6, 6, 1, "")
    assert (record.entered_at, record.due_at) == (LATER.at, LATER.at + MINUTE)
    assert record.meta.status_description == "status 2"
    assert TRANSITIONS.moved(running(), 3, b"6", LATER).record.run_state is RunState.COMPLETED


def test_a_move_to_the_same_status_is_a_visit_of_its_own() -> None:
    record = TRANSITIONS.moved(running(), 2, b"6", LATER).record
    assert (record.visit, record.entered_at, record.marks) == (6, LATER.at, NO_MARKS)


def test_a_repetition_begins_a_step_within_the_visit() -> None:
    record = TRANSITIONS.repeated(running(), b"6", LATER).record
    assert (record.visit, record.step_version, record.attempt, record.last_error) == (3, 6, 1, "")
    assert (record.object, record.entered_at, record.due_at) == (b"6", NOW - MINUTE, LATER.at + MINUTE)


def test_a_failure_counts_the_attempt_and_waits() -> None:
    record = TRANSITIONS.failed(running(run_state=RunState.INITIATED), "again", MINUTE, LATER).record
    assert (record.run_state, record.attempt, record.last_error) == (RunState.RUNNING, 3, "again")
    assert (record.visit, record.step_version, record.object) == (3, 4, b"5")
    assert record.due_at == LATER.at + MINUTE


def test_a_failed_erasure_stays_a_request() -> None:
    record = TRANSITIONS.failed(ASKED, "again", MINUTE, LATER).record
    assert record.run_state is RunState.REQUESTED_DATA_DELETED


@pytest.mark.parametrize("wanted", [RunState.PAUSED, RunState.CANCELLED])
def test_a_stop_keeps_the_step_and_says_why(wanted: RunState) -> None:
    change = TRANSITIONS.stopped(running(), wanted, "look", LATER)
    record = change.record
    assert (record.run_state, record.meta.run_state_reason) == (wanted, "look")
    assert (record.object, record.attempt, record.step_version, record.last_error) == (b"5", 2, 4, "boom")
    assert not record.auto_paused
    assert change.event.topic == "my_w-run-state-change"
    by_handler = TRANSITIONS.stopped(running(), wanted, "look", LATER, data=b"changed").record
    assert by_handler.object == b"changed"
    by_engine = TRANSITIONS.stopped(running(), wanted, "look", LATER, error="worse", auto=True).record
    assert (by_engine.last_error, by_engine.auto_paused) == ("worse", True)


def test_a_resumed_run_begins_its_attempts_anew() -> None:
    change = TRANSITIONS.resumed(replace(PAUSED, meta=replace(PAUSED.meta, run_state_reason="look")), LATER)
    record = change.record
    assert (record.run_state, record.attempt, record.auto_paused) == (RunState.RUNNING, 1, False)
    assert (record.step_version, record.meta.run_state_reason) == (4, "")
    assert change.event.topic == "my_w-2"


def test_a_request_for_erasure_and_the_erasure() -> None:
    asked = TRANSITIONS.deletion_requested(CANCELLED, "wish", LATER)
    assert (asked.record.run_state, asked.record.attempt) == (RunState.REQUESTED_DATA_DELETED, 1)
    assert (asked.record.meta.run_state_reason, asked.event.topic) == ("wish", "my_w-delete")
    erased = TRANSITIONS.deleted(asked.record, b"kept", LATER)
    assert (erased.record.run_state, erased.record.object, erased.record.last_error) == (
        RunState.DATA_DELETED,
        b"kept",
        "",
    )
    assert erased.event.topic == "my_w-run-state-change"


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda: TRANSITIONS.stopped(PAUSED, RunState.PAUSED, "", LATER),
        lambda: TRANSITIONS.stopped(CANCELLED, RunState.PAUSED, "", LATER),
        lambda: TRANSITIONS.stopped(ASKED, RunState.CANCELLED, "", LATER),
        lambda: TRANSITIONS.resumed(running(), LATER),
        lambda: TRANSITIONS.resumed(running(run_state=RunState.INITIATED), LATER),
        lambda: TRANSITIONS.resumed(CANCELLED, LATER),
        lambda: TRANSITIONS.deletion_requested(running(), "", LATER),
        lambda: TRANSITIONS.deletion_requested(PAUSED, "", LATER),
        lambda: TRANSITIONS.deleted(CANCELLED, b"", LATER),
    ],
)
def test_what_the_life_cycle_forbids_is_refused(forbidden: Callable[[], NewVersion]) -> None:
    with pytest.raises(InvalidRunState) as caught:
        forbidden()
    assert caught.value.run_id == "run"


def test_an_event_is_emitted_again_as_it_was() -> None:
    record = running()
    note = TRANSITIONS.emitted(record, NOW + MINUTE, reemitted_at=NOW)
    assert (note.run_id, note.version, note.due_at, note.reemitted_at) == ("run", 5, NOW + MINUTE, NOW)
    assert note.event == replace(TRANSITIONS.event(record), swept=True)
    assert TRANSITIONS.emitted(record, NOW + MINUTE).event == TRANSITIONS.event(record)
    assert (note.skipped, note.timers_armed, note.claimed_by) == (None, None, None)


def test_an_event_is_parked_for_one_consumer_with_its_next_attempt() -> None:
    record = running()
    received = replace(TRANSITIONS.event(record), attempt=2, partition=7, position=9)
    note = TRANSITIONS.parked(record, received, "the hook", NOW + MINUTE)
    assert note.event is not None
    assert asdict(note.event) == {
        **asdict(received),
        "consumer": "the hook",
        "attempt": 3,
        "partition": 0,
        "position": 0,
    }
    assert (note.version, note.due_at, note.marks_anything) == (5, NOW + MINUTE, False)


def test_a_long_error_keeps_its_beginning_and_above_all_its_end() -> None:
    assert clip("short") == "short"
    assert clip("a\x00b\ud800") == "a\\x00b\\ud800"
    cut = clip("begins " + "ä" * MAX_ERROR_BYTES + " ends")
    assert len(cut.encode()) <= MAX_ERROR_BYTES
    assert cut.startswith("begins ")
    assert cut.endswith(" ends")
    assert "... (cut) ..." in cut
