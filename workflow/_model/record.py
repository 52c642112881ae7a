"""The stored values of a run: its versions, and the marks on its present one.

A `Version` is a fact: once committed it never changes. `Marks` are notes of the engine on the present version; they
save work and never decide what a run is. A `Record` is the present version with its marks. None of them knows the
object's type nor the status enum, so that any store can hold them. Values here are frozen: a change is a new value.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from .run_state import RunState


class VersionCause(StrEnum):
    """What made a version."""

    UNKNOWN = ""
    """Written by a release that did not keep the cause."""
    TRIGGER = "trigger"
    STEP = "step"
    CALLBACK = "callback"
    TIMEOUT = "timeout"
    FAILURE = "failure"
    """A handler failed: the step is tried again later, or the run was paused after too many failures."""
    CRASH = "crash"
    """The process that ran the handler ended before it had a result."""
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    DELETE = "delete"
    RETRY = "retry"
    MOVE = "move"
    REWIND = "rewind"
    EDIT = "edit"
    RESTART = "restart"
    SWEEP = "sweep"


class Stamp(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who writes a version, when and why: one value for each attempt to write.

    Attributes:
        at: the moment, by the engine's clock.
        attempt_id: names the attempt, so that a write with unknown outcome can be sent again.
        cause: what makes the version.
        actor: the person or program that asked for it; empty for the engine and its handlers.
        reason: why, in the words of the actor.
    """

    at: datetime
    attempt_id: str
    cause: VersionCause
    actor: str = ""
    reason: str = ""


class Meta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What people and tools want to know about a version beside its state.

    Attributes:
        run_state_reason: why the run is paused, cancelled or erased; kept until it is resumed.
        status_description: the status as text, for readers that do not have the enum.
        trace_origin: where in the caller's code the run was triggered, at most 4,096 characters.
        trace_context: propagation headers (W3C trace context) of the span that triggered the run.
        cause, actor, reason: what made this version, who asked for it, and why; see `Stamp`.
    """

    run_state_reason: str = ""
    status_description: str = ""
    trace_origin: str = ""
    trace_context: dict[str, str] = {}
    cause: VersionCause = VersionCause.UNKNOWN
    actor: str = ""
    reason: str = ""


class Version(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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
    meta: Meta = Meta()


class Marks(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Notes of the engine on the present version of a run.

    Attributes:
        skipped: the handler looked at this version and skipped it.
        timers_armed: the timers of this visit exist.
        claimed_by: the process that marked the start of an attempt at this version; empty when none did.
        reemitted_at: when the sweeper last emitted the event of this version again.
    """

    skipped: bool = False
    timers_armed: bool = False
    claimed_by: str = ""
    reemitted_at: datetime | None = None

    def after(self, *, same_visit: bool) -> "Marks":
        """The marks of the version that follows: within a visit its timers stay armed, all else is cleared.

        This is the one rule about marks; every store keeps it when it writes a new version.
        """
        return _TIMERS_ARMED if same_visit and self.timers_armed else NO_MARKS


NO_MARKS = Marks()
_TIMERS_ARMED = Marks(timers_armed=True)


class Record(Version, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The present version of a run, with its marks: the truth about the run.

    Attributes:
        marks: the engine's notes on this version.
    """

    marks: Marks = NO_MARKS

    def as_version(self) -> Version:
        """The version alone, as a history keeps it."""
        return Version(
            workflow_name=self.workflow_name,
            foreign_id=self.foreign_id,
            run_id=self.run_id,
            run_state=self.run_state,
            status=self.status,
            object=self.object,
            version=self.version,
            created_at=self.created_at,
            updated_at=self.updated_at,
            due_at=self.due_at,
            visit=self.visit,
            entered_at=self.entered_at,
            step_version=self.step_version,
            attempt=self.attempt,
            last_error=self.last_error,
            attempt_id=self.attempt_id,
            auto_paused=self.auto_paused,
            meta=self.meta,
        )
