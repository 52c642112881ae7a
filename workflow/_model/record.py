"""The stored values: a run's record, and the questions asked about records.

A `Record` is the truth about one run at one version. It knows neither the object's type nor the status enum, so that
any store can hold it. Values here are frozen: a change is a new value.
"""

from datetime import datetime

import msgspec

from .run_state import RunState


class Meta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What people and tools want to know about a record beside its state.

    Attributes:
        run_state_reason: why the run was paused, cancelled or erased; empty when resumed.
        status_description: the status as text, for readers that do not have the enum.
        trace_origin: where in the caller's code the run was triggered, at most 4,096 characters.
        trace_context: propagation headers (W3C trace context) of the span that triggered the run.
    """

    run_state_reason: str = ""
    status_description: str = ""
    trace_origin: str = ""
    trace_context: dict[str, str] = {}


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One committed version of one run.

    Attributes:
        workflow_name: the workflow that owns the run.
        foreign_id: the business key; one live run per workflow and foreign ID.
        run_id: identifies the run; the shard of a run is computed from it.
        run_state: where the run is in its life.
        status: the user's status, as an integer.
        object: the user's object, encoded.
        version: 1, 2, 3 … without gaps; every version has one history row and one outbox event.
        created_at: when version 1 was made, by the engine's clock.
        updated_at: when this version was made, by the engine's clock.
        due_at: when this version may be handled: `updated_at`, or later after a failure (back-off), for a start in
            the future and for a consume lag.
        visit: the version that entered the present status; timers belong to a visit.
        entered_at: when that version was made.
        step_version: the version at which the present step began: a move, callback, timeout or save-and-repeat
            begins one, a failure, pause or resume does not. The idempotency key is run ID and this version.
        attempt: how often the present step has been tried, counting this time; starts at 1.
        last_error: text and trace of the last failed attempt of this step, at most 8 KiB; empty when there is none.
        attempt_id: names the attempt that wrote this version, so that a write with unknown outcome can be sent again.
        auto_paused: the engine paused the run after repeated errors; only such pauses are resumed by themselves.
        skipped: the handler looked at this version and skipped it; cleared by the store with every new version.
        armed: the timers of this visit exist; kept by the store within a visit, cleared when a new visit begins.
        started_by: the process that marked the start of an attempt at this version; empty when none did. Cleared by
            the store with every new version.
        swept_at: when the sweeper last emitted this version again; cleared by the store with every new version.
        meta: what people and tools want to know beside.
    """

    workflow_name: str
    foreign_id: str
    run_id: str
    run_state: RunState
    status: int
    object: bytes
    version: int
    created_at: datetime
    updated_at: datetime
    due_at: datetime
    visit: int
    entered_at: datetime
    step_version: int
    attempt: int = 1
    last_error: str = ""
    attempt_id: str = ""
    auto_paused: bool = False
    skipped: bool = False
    armed: bool = False
    started_by: str = ""
    swept_at: datetime | None = None
    meta: Meta = Meta()
