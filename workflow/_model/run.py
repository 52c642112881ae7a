"""A run as handlers and callers see it, and the answers of a handler."""

from collections.abc import Callable
from datetime import datetime
from enum import IntEnum
from typing import Any, Generic, TypeVar, cast

from .. import _arguments
from .change import OnCommit
from .decision import Decision, Kind
from .record import Meta, Version
from .run_state import RunState

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=IntEnum)

_UNREAD: Any = object()


class Run(Generic[ObjectT, StatusT]):
    """One run at one version.

    Inside a handler, change `run.object` (or assign it) and return the next status, or one of the decisions below:
    the engine commits both in one write. Elsewhere a Run is a reading: changing it changes nothing.

    Only `object` may be assigned; everything else is read.
    """

    __slots__ = (
        "_attempt",
        "_decide",
        "_decode",
        "_handling",
        "_last_error",
        "_made",
        "_object",
        "_on_commit",
        "_status",
        "_version",
    )

    def __init__(
        self,
        version: Version,
        status: StatusT,
        decode: Callable[[bytes], ObjectT],
        *,
        handling: bool = False,
        decide: Callable[[Decision], Decision] | None = None,
        attempt: int | None = None,
        last_error: str | None = None,
    ) -> None:
        """Made by the engine (and by `workflow.testing.new_testing_run`)."""
        self._version = version
        self._decode = decode
        self._object: ObjectT = _UNREAD
        self._decide = decide
        self._made: Decision | None = None
        self._on_commit: list[OnCommit] | None = None
        self._handling = handling
        self._status = status
        self._attempt = version.attempt if attempt is None else attempt
        self._last_error = version.last_error if last_error is None else last_error

    @property
    def workflow_name(self) -> str:
        """The workflow that owns the run."""
        return self._version.workflow_name

    @property
    def foreign_id(self) -> str:
        """The business key it was triggered with."""
        return self._version.foreign_id

    @property
    def run_id(self) -> str:
        """Identifies the run."""
        return self._version.run_id

    @property
    def run_state(self) -> RunState:
        """Where the run is in its life. In a handler an initiated run counts as running."""
        if self._handling and self._version.run_state is RunState.INITIATED:
            return RunState.RUNNING
        return self._version.run_state

    @property
    def status(self) -> StatusT:
        """Where the run is; the plain integer if it is no longer a member of the enum."""
        return self._status

    @property
    def attempt(self) -> int:
        """How often the present step (or timer) has been tried, counting this time."""
        return self._attempt

    @property
    def last_error(self) -> str:
        """Text and trace of the last failed attempt of this step; empty when there is none."""
        return self._last_error

    @property
    def version(self) -> int:
        """The version of the run that was read."""
        return self._version.version

    @property
    def created_at(self) -> datetime:
        """When the run was triggered."""
        return self._version.created_at

    @property
    def updated_at(self) -> datetime:
        """When this version was made."""
        return self._version.updated_at

    @property
    def meta(self) -> Meta:
        """What made this version, who asked for it and why; how its status reads; where the run was triggered."""
        return self._version.meta

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of one step of one run, and different for the next: hand it to other systems."""
        return f"{self._version.run_id}:{self._version.step_version}"

    @property
    def object(self) -> ObjectT:
        """The user's object, decoded when it is first asked for.

        Raises:
            InvalidObject: the stored bytes do not decode to the workflow's object type.
        """
        if self._object is _UNREAD:
            self._object = self._decode(self._version.object)
        return self._object

    @object.setter
    def object(self, value: ObjectT) -> None:
        self._object = value

    def skip(self) -> Decision:
        """Leave the run as it is, and drop the changes to its object: wait for a callback, a timeout or a verb."""
        return self._decision(Kind.SKIP, "", "callback")

    def pause(self, reason: str = "") -> Decision:
        """Keep the changes and pause the run, until `Workflow.resume`; this step runs again then."""
        return self._decision(Kind.PAUSE, reason, "pause")

    def cancel(self, reason: str = "") -> Decision:
        """Keep the changes and cancel the run for good."""
        return self._decision(Kind.CANCEL, reason, "cancel")

    def save_and_repeat(self) -> Decision:
        """Keep the changes and run this step again, as a new step of the same status."""
        return self._decision(Kind.SAVE_AND_REPEAT, "", "callback")

    def on_commit(self, write: OnCommit) -> None:
        """Have `write(connection)` called in the very transaction that commits this handler's result.

        On Postgres `write` is `async def write(connection)` with the asyncpg connection; on SQLite a plain function
        with the sqlite3 connection, called in the writer thread. Its writes through that connection are applied
        exactly once per step; the function itself may be called again if the transaction has to be repeated.

        Raises:
            RuntimeError: the run is not in a handler.
        """
        if not self._handling:
            raise RuntimeError(f"run {self.run_id!r} is not in a handler: there is no commit to write with")
        self._on_commit = [*(self._on_commit or ()), write]

    def _end(self) -> None:
        """The handler has answered: decisions that it makes now come too late."""
        self._handling = False

    def _decision(self, kind: Kind, reason: str, verb: str) -> Decision:
        if not self._handling:
            raise RuntimeError(
                f"run {self.run_id!r} is not in a handler: a decision here would be lost; use Workflow.{verb}()"
            )
        _arguments.text("reason", reason, most=None, empty=True)
        decision = Decision(kind, reason)
        self._made = decision if self._decide is None else self._decide(decision)
        return self._made

    def __repr__(self) -> str:
        r = self._version
        return (
            f"<Run {r.run_id} of {r.workflow_name!r} {r.foreign_id!r}: {self.status!r}, {r.run_state}, "
            f"version {r.version}, attempt {r.attempt}>"
        )


def read_status(status_type: type[StatusT], status: int) -> StatusT:
    """The member for a stored status; the bare integer if the enum no longer has it."""
    try:
        return status_type(status)
    except ValueError:
        return cast("StatusT", status)
