"""The words of the field as values: run states, process states, names of topics and processes, errors."""

import inspect
from datetime import timedelta
from enum import IntEnum
from itertools import product

import msgspec
import pytest

import workflow
from workflow import (
    Conflict,
    InvalidRunState,
    InvalidTransition,
    Meta,
    NotWaiting,
    Order,
    OutboxEventNotFound,
    ProcessState,
    Record,
    RecordNotFound,
    RunState,
    StatusNotConfigured,
    TimeoutNotFound,
    WaitTimeout,
    WorkflowError,
    WorkflowInProgress,
)
from workflow._declare.definition import status_text
from workflow._model import topology as names
from workflow._model.run_state import TRANSITIONS
from workflow._model.shard import WHOLE, Shard
from workflow._model.timer import TimeoutRecord
from workflow._verbs.call_site import trace_origin


class Status(IntEnum):
    OTP_SENT = 1
    DONE = 2


def test_run_states_have_the_numbers_and_texts_of_the_reference() -> None:
    """R-MODEL-6, R-MODEL-7."""
    assert {int(state): str(state) for state in RunState} == {
        0: "Unknown",
        1: "Initiated",
        2: "Running",
        3: "Paused",
        4: "Cancelled",
        5: "Completed",
        6: "Data Deleted",
        7: "Requested Data Deleted",
    }


def test_run_states_say_what_they_mean() -> None:
    """R-MODEL-8, R-MODEL-9, R-MODEL-10: completed is finished but not stopped."""
    finished = {RunState.CANCELLED, RunState.COMPLETED, RunState.DATA_DELETED, RunState.REQUESTED_DATA_DELETED}
    assert {state for state in RunState if state.valid} == set(RunState) - {RunState.UNKNOWN}
    assert {state for state in RunState if state.finished} == finished
    assert {state for state in RunState if state.stopped} == finished - {RunState.COMPLETED} | {RunState.PAUSED}
    for number in (-1, 8, 9999):
        with pytest.raises(ValueError, match=str(number)):
            RunState(number)


def test_every_pair_of_run_states_is_decided() -> None:
    """R-STATE-1, R-STATE-2: the moves allowed, and no other; Initiated to Cancelled is ours."""
    allowed = {
        ("Initiated", "Running"),
        ("Initiated", "Paused"),
        ("Initiated", "Cancelled"),
        ("Running", "Completed"),
        ("Running", "Paused"),
        ("Running", "Cancelled"),
        ("Paused", "Running"),
        ("Paused", "Cancelled"),
        ("Completed", "Requested Data Deleted"),
        ("Cancelled", "Requested Data Deleted"),
        ("Requested Data Deleted", "Data Deleted"),
        ("Data Deleted", "Requested Data Deleted"),
    }
    found = {(str(a), str(b)) for a, b in product(RunState, RunState) if b in TRANSITIONS[a]}
    assert found == allowed


def test_process_states_have_the_numbers_and_texts_of_the_reference() -> None:
    """R-MODEL-11."""
    assert {int(state): str(state) for state in ProcessState} == {0: "Unknown", 1: "Shutdown", 2: "Running", 3: "Idle"}


def test_orders_have_the_texts_of_the_reference() -> None:
    """R-MODEL-12: an order is always given, so there is no unknown one."""
    assert [order.value for order in Order] == ["asc", "desc"]


def test_a_record_knows_neither_object_type_nor_enum() -> None:
    """R-MODEL-2, R-MODEL-3, R-MODEL-17, R-MODEL-18: any store can hold it."""
    fields = {field.name: field.type for field in msgspec.structs.fields(Record)}
    assert {"workflow_name", "foreign_id", "run_id", "run_state", "created_at", "updated_at", "meta"} < set(fields)
    assert (fields["status"], fields["object"], fields["version"]) == (int, bytes, int)
    assert {"run_state_reason", "status_description", "trace_origin"} < {f.name for f in msgspec.structs.fields(Meta)}
    timer = {field.name for field in msgspec.structs.fields(TimeoutRecord)}
    assert {"id", "workflow_name", "foreign_id", "run_id", "status", "completed", "expire_at", "created_at"} < timer


def test_topics_keep_case_and_lose_blanks() -> None:
    """R-TOPIC-1, R-TOPIC-2."""
    assert names.topic("user sign up", 3) == "user_sign_up-3"
    assert names.topic("Sign Up", 3) == "Sign_Up-3"
    assert names.delete_topic("user sign up") == "user_sign_up-delete"
    assert names.run_state_change_topic("user sign up") == "user_sign_up-run-state-change"


def test_roles_and_processes_are_lower_case_parts() -> None:
    """R-ROLE-1, R-ROLE-2, R-ROLE-5."""
    assert names.joined("User Sign up", 3, *names.shard_parts(Shard(1, 2))) == "user_sign_up-3-consumer-1-of-2"
    assert names.shard_parts(WHOLE) == ("consumer", 1, "of", 1)


def test_process_names_come_from_the_text_of_a_status_and_roles_from_its_number() -> None:
    """R-MODEL-1, R-ROLE-4: renaming a member changes metrics, never a cursor."""
    assert status_text(Status, 1) == "Otp Sent"
    assert status_text(Status, 99) == "99"

    class Spoken(IntEnum):
        SENT = 1

        def __str__(self) -> str:
            return "it was sent"

    assert status_text(Spoken, 1) == "it was sent"


def test_every_error_has_one_root_and_keeps_its_ids() -> None:
    """R-MODEL-14, W-40: errors are matched by class, and each that is declared is produced somewhere."""
    wanted = (
        workflow.RecordNotFound,
        workflow.TimeoutNotFound,
        workflow.WorkflowInProgress,
        workflow.OutboxEventNotFound,
        workflow.InvalidTransition,
        workflow.InvalidRunState,
        workflow.StatusNotConfigured,
        workflow.BuildError,
        workflow.InvalidPayload,
        workflow.NotWaiting,
        workflow.RunFinished,
        workflow.WaitTimeout,
        workflow.Conflict,
        workflow.OutcomeUnknown,
        workflow.ScheduleError,
    )
    assert all(issubclass(error, WorkflowError) for error in wanted)
    assert issubclass(RecordNotFound, LookupError)
    assert issubclass(TimeoutNotFound, LookupError)
    assert issubclass(WaitTimeout, TimeoutError)
    assert issubclass(workflow.InvalidPayload, ValueError)
    assert issubclass(workflow.ScheduleError, ValueError)
    missing = RecordNotFound(run_id="r-1", workflow_name="w")
    assert (missing.run_id, missing.workflow_name, missing.foreign_id) == ("r-1", "w", None)
    assert "r-1" in str(missing)
    live = WorkflowInProgress("w", "key", "r-1")
    assert (live.workflow_name, live.foreign_id, live.run_id) == ("w", "key", "r-1")
    assert "retry once complete" in str(live)
    assert TimeoutNotFound("t-1").timeout_id == "t-1"
    assert OutboxEventNotFound("7").event_id == "7"
    transition = InvalidTransition("w", "r-1", Status.OTP_SENT, Status.DONE)
    assert (transition.workflow_name, transition.run_id) == ("w", "r-1")
    assert (transition.current, transition.wanted) == (Status.OTP_SENT, Status.DONE)
    state = InvalidRunState("r-1", RunState.COMPLETED, RunState.PAUSED)
    assert (state.run_id, state.current, state.wanted) == ("r-1", RunState.COMPLETED, RunState.PAUSED)
    assert "from Completed to Paused" in str(state)
    unknown = StatusNotConfigured("w", Status.DONE)
    assert (unknown.workflow_name, unknown.status) == ("w", Status.DONE)
    waiting = NotWaiting("w", "key", "r-1", status=Status.DONE, wanted=Status.OTP_SENT, run_state=RunState.COMPLETED)
    assert (waiting.workflow_name, waiting.foreign_id, waiting.run_id) == ("w", "key", "r-1")
    assert (waiting.status, waiting.wanted, waiting.run_state) == (Status.DONE, Status.OTP_SENT, RunState.COMPLETED)
    late = WaitTimeout("w", "key", Status.DONE, timedelta(seconds=1), "r-1")
    assert (late.foreign_id, late.run_id, late.wanted, late.timeout.seconds) == ("key", "r-1", Status.DONE, 1)
    conflict = Conflict("r-1", 3)
    assert (conflict.run_id, conflict.version) == ("r-1", 3)


def test_the_origin_of_a_trigger_is_the_callers_code_only() -> None:
    """R-TRIGGER-10."""
    origin = trace_origin()
    assert origin.splitlines()[0].startswith(f"{__file__}:")
    assert "test_the_origin_of_a_trigger" in origin.splitlines()[0]
    assert len(origin) <= 4096


def test_a_caller_whose_path_reads_like_ours_is_not_hidden() -> None:
    own = inspect.getfile(workflow).removesuffix("__init__.py").rstrip("/")
    for path in (f"{own}_service/main.py", "/srv/my-asyncio-app/main.py", "/srv/caf\udce9/main.py"):
        scope: dict[str, object] = {"trace_origin": trace_origin}
        exec(compile("def call():\n    return trace_origin()\n", path, "exec"), scope)
        origin = scope["call"]()  # type: ignore[operator]
        assert origin.splitlines()[0].endswith("main.py:2 call")
        origin.encode()


@pytest.mark.parametrize("name", ["Workflow", "Builder"])
def test_the_public_surface_is_what_the_design_names(name: str) -> None:
    """R-API-1 to R-API-8: every verb and declaration, with its parameters and defaults."""
    wanted = {
        "Workflow": {
            "run": "()",
            "running": "()",
            "stop": "(drain)",
            "states": "()",
            "trigger": "(foreign_id, initial_value, *, starting_point, run_id, start_at)",
            "schedule": "(foreign_id, spec, *, timezone, initial_value, filter)",
            "callback": "(foreign_id, status, payload, *, run_id)",
            "wait_for": "(foreign_id, status, *, run_id, timeout)",
            "get": "(run_id)",
            "latest": "(foreign_id)",
            "list": "(*, foreign_ids, statuses, run_states, created_after, created_before, order, offset, limit)",
            "history": "(run_id)",
            "pause": "(run_id, reason)",
            "resume": "(run_id)",
            "cancel": "(run_id, reason)",
            "delete_data": "(run_id, reason)",
        },
        "Builder": {
            "step": "(from_status, *, to, options)",
            "callback": "(from_status, *, to)",
            "timeout": "(from_status, timer, *, to, options)",
            "connector": "(name, source, *, options)",
            "schedule": "(foreign_id, spec, *, timezone, initial_value, filter)",
        },
    }[name]
    for method, parameters in wanted.items():
        assert _parameters(getattr(getattr(workflow, name), method)) == parameters, method
    build = inspect.signature(workflow.Builder.build).parameters
    for argument in (
        "default_options",
        "outbox_options",
        "custom_delete",
        "clock",
        "codec",
        "logger",
        "starting_point",
    ):
        assert build[argument].kind is inspect.Parameter.KEYWORD_ONLY
    assert build["pause_retry"].default == timedelta(hours=1)
    assert build["outbox"].default is True


def _parameters(fn: object) -> str:
    parts = []
    star = False
    for parameter in list(inspect.signature(fn).parameters.values())[1:]:  # type: ignore[arg-type]
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not star:
            star = True
            parts.append("*")
        parts.append(parameter.name)
    return f"({', '.join(parts)})"
