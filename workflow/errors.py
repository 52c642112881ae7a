"""Every error this package raises on purpose.

One root, `WorkflowError`; each error builds its own message from the ids it is given and keeps them as attributes.
"""

from datetime import timedelta

from ._model.run_state import RunState


class WorkflowError(Exception):
    """The root of all errors of this package."""


class RecordNotFound(WorkflowError, LookupError):
    """No run has this run ID (or none this foreign ID)."""

    def __init__(self, *, run_id: str | None = None, workflow_name: str | None = None, foreign_id: str | None = None):
        what = f"run {run_id!r}" if run_id is not None else f"workflow {workflow_name!r}: foreign ID {foreign_id!r}"
        super().__init__(f"record not found: {what}")
        self.run_id = run_id
        self.workflow_name = workflow_name
        self.foreign_id = foreign_id


class TimeoutNotFound(WorkflowError, LookupError):
    """No timer has this id."""

    def __init__(self, timeout_id: str):
        super().__init__(f"timeout not found: {timeout_id!r}")
        self.timeout_id = timeout_id


class OutboxEventNotFound(WorkflowError, LookupError):
    """No outbox event has this id."""

    def __init__(self, event_id: str):
        super().__init__(f"outbox event not found: {event_id!r}")
        self.event_id = event_id


class WorkflowInProgress(WorkflowError):
    """A live run holds the foreign ID; a new one may start once it is finished."""

    def __init__(self, workflow_name: str, foreign_id: str, run_id: str | None = None):
        holder = f" (run {run_id!r})" if run_id else ""
        super().__init__(
            f"workflow {workflow_name!r}: foreign ID {foreign_id!r} is still in progress{holder} - retry once complete"
        )
        self.workflow_name = workflow_name
        self.foreign_id = foreign_id
        self.run_id = run_id


class InvalidTransition(WorkflowError):
    """A handler returned a status that its declaration does not allow."""

    def __init__(self, workflow_name: str, run_id: str, current: object, wanted: object):
        super().__init__(
            f"workflow {workflow_name!r}, run {run_id!r}: {current!r} may not become {wanted!r}: not among the "
            f"destinations declared for it"
        )
        self.workflow_name = workflow_name
        self.run_id = run_id
        self.current = current
        self.wanted = wanted


class InvalidRunState(WorkflowError):
    """A run was asked to enter a run state that its present one does not allow."""

    def __init__(self, run_id: str, current: RunState, wanted: RunState):
        super().__init__(f"run {run_id!r}: invalid run state: from {current} to {wanted}")
        self.run_id = run_id
        self.current = current
        self.wanted = wanted


class StatusNotConfigured(WorkflowError):
    """The status is not in the workflow's graph, or is not a member of its status enum."""

    def __init__(self, workflow_name: str, status: object, why: str = "not in the graph"):
        super().__init__(f"workflow {workflow_name!r}: status {status!r} is not configured: {why}")
        self.workflow_name = workflow_name
        self.status = status


class BuildError(WorkflowError):
    """The declaration of a workflow is wrong; `problems` lists everything that is.

    Attributes:
        problems: one sentence each, naming the status or handler.
    """

    def __init__(self, workflow_name: str, problems: list[str] | tuple[str, ...]):
        super().__init__(f"workflow {workflow_name!r} cannot be built:" + "".join(f"\n- {p}" for p in problems))
        self.workflow_name = workflow_name
        self.problems = tuple(problems)


class InvalidObject(WorkflowError, ValueError):
    """An object cannot be encoded, or stored bytes do not decode to the workflow's object type."""

    def __init__(self, workflow_name: str, run_id: str | None, why: str, *, field: str = "object"):
        run = f", run {run_id!r}" if run_id else ""
        super().__init__(f"workflow {workflow_name!r}{run}: invalid {field}: {why}")
        self.workflow_name = workflow_name
        self.run_id = run_id
        self.field = field
        self.why = why


class InvalidPayload(WorkflowError, ValueError):
    """The payload of a callback is not what the callback's annotation says. Nothing was changed."""

    def __init__(self, workflow_name: str, status: object, why: str, foreign_id: str | None = None):
        super().__init__(f"workflow {workflow_name!r}: invalid payload for the callback on {status!r}: {why}")
        self.workflow_name = workflow_name
        self.foreign_id = foreign_id
        self.status = status
        self.why = why


class NotWaiting(WorkflowError):
    """The run is not where the callback expects it, so the callback changed nothing.

    Attributes:
        status: where the run is.
        wanted: where the callback expects it.
        run_state: a paused or finished run takes no callbacks.
    """

    def __init__(
        self, workflow_name: str, foreign_id: str, run_id: str, *, status: object, wanted: object, run_state: RunState
    ):
        super().__init__(
            f"workflow {workflow_name!r}: run {run_id!r} of {foreign_id!r} does not wait for a callback on "
            f"{wanted!r}: it is {run_state} at {status!r}"
        )
        self.workflow_name = workflow_name
        self.foreign_id = foreign_id
        self.run_id = run_id
        self.status = status
        self.wanted = wanted
        self.run_state = run_state


class RunFinished(WorkflowError):
    """The run ended without reaching the awaited status, and will never reach it."""

    def __init__(self, workflow_name: str, run_id: str, *, status: object, run_state: RunState, wanted: object):
        super().__init__(
            f"workflow {workflow_name!r}: run {run_id!r} is {run_state} at {status!r} "
            f"and can no longer reach {wanted!r}"
        )
        self.workflow_name = workflow_name
        self.run_id = run_id
        self.status = status
        self.run_state = run_state
        self.wanted = wanted


class WaitTimeout(WorkflowError, TimeoutError):
    """The run did not reach the awaited status in time. The run itself goes on."""

    def __init__(
        self, workflow_name: str, foreign_id: str, wanted: object, timeout: timedelta, run_id: str | None = None
    ):
        super().__init__(
            f"workflow {workflow_name!r}: {foreign_id!r} did not reach {wanted!r} within {timeout.total_seconds():g} s"
        )
        self.workflow_name = workflow_name
        self.foreign_id = foreign_id
        self.run_id = run_id
        self.wanted = wanted
        self.timeout = timeout


class Conflict(WorkflowError):
    """The run is not at the version that the caller expected, or others moved it again and again meanwhile.

    Attributes:
        version: where the run is now, as far as it was read.
        expected: the version that the caller named; None if none was named.
    """

    def __init__(self, run_id: str, version: int, *, expected: int | None = None):
        if expected is None:
            why = f"run {run_id!r} changed after version {version} was read; the change was not applied"
        else:
            why = f"run {run_id!r} is at version {version}, not {expected}; the change was not applied"
        super().__init__(why)
        self.run_id = run_id
        self.version = version
        self.expected = expected


class WrongEventLoop(WorkflowError, RuntimeError):
    """A verb was called from a second event loop while the workflow is in use in the first. Nothing was written."""

    def __init__(self, workflow_name: str):
        super().__init__(
            f"workflow {workflow_name!r} is in use in another event loop: call its verbs there "
            f"(from a thread: asyncio.run_coroutine_threadsafe(...), or make the handler `async def`)"
        )
        self.workflow_name = workflow_name


class Unavailable(WorkflowError):
    """A store, stream or role scheduler cannot be reached now. Nothing was written; the call may be repeated.

    Attributes:
        run_id: the run that was to be written, if it was one.
    """

    def __init__(self, why: str = "", *, run_id: str | None = None):
        super().__init__(why)
        self.run_id = run_id


class StreamReset(WorkflowError):
    """The stream is another one than before: it was emptied, restored, or its end was lost. A receiver ends with this.

    Opened again, it begins at the stored cursor, or at the earliest event if that lies beyond the end.
    """


class BackendNotOpen(Unavailable):
    """The backend was not entered with `async with`, or has been left. Nothing was written; waiting does not help."""


class OutcomeUnknown(WorkflowError):
    """The connection was lost while a change was being committed: it may or may not be durable.

    Adapters raise it; the engine sends the very same change again, with the same attempt id.
    Users see it only when that could not be settled before their deadline.

    Attributes:
        run_id: the run that may have been written; triggering with this run ID again is the same run.
    """

    def __init__(self, why: str = "", *, run_id: str | None = None):
        super().__init__(why)
        self.run_id = run_id


class ScheduleError(WorkflowError, ValueError):
    """The schedule's spec, time zone or arguments cannot be used."""

    def __init__(self, spec: str, why: str):
        super().__init__(f"schedule {spec!r}: {why}")
        self.spec = spec
        self.why = why


class EventsRefused(WorkflowError):
    """The stream can be reached but will never take these events (too large, unknown topic …).

    Attributes:
        indexes: positions, in the sequence that was sent, of the events refused; the others are durable.
    """

    def __init__(self, why: str, indexes: tuple[int, ...]):
        super().__init__(f"{len(indexes)} events refused: {why}")
        self.why = why
        self.indexes = indexes
