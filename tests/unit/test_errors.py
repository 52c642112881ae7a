"""Errors: one root, and each keeps the ids it is about."""

from datetime import timedelta
from enum import IntEnum

import workflow
from workflow import (
    Conflict,
    InvalidRunState,
    InvalidTransition,
    NotWaiting,
    OutboxEventNotFound,
    RecordNotFound,
    RunState,
    StatusNotConfigured,
    TimeoutNotFound,
    WaitTimeout,
    WorkflowError,
    WorkflowInProgress,
)


class Status(IntEnum):
    OTP_SENT = 1
    DONE = 2


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
