"""What may be written to a record store, and what the store answers.

Every write is one of three changes, and each is guarded by the version it was computed from (compare-and-swap). Only
`workflow._engine.commits` sends changes to a store.
"""

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any, TypeAlias

import msgspec

from .event import Event
from .record import Record
from .run_state import RunState

OnCommit: TypeAlias = Callable[..., Any]
"""A user's function that writes business rows in the transaction that moves the run."""


class NewVersion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A new version of a run: the record, its history row and its outbox event, in one transaction.

    Version 1 creates the run, if no live run holds the foreign ID; version n + 1 replaces version n.
    The store clears `skipped`, `started_by` and `swept_at`, and clears `armed` when `record.visit` is a new one.

    Attributes:
        record: the new version.
        event: its event; sent not before `due_at` (None: at once).
        keep_object: whether the history row holds the object; a failed attempt's does not.
        erase: erase object, error and reason texts from all earlier history rows, and the bytes of this run's dead
            letters, in the same transaction.
        on_commit: functions to call with the transaction's connection, after the compare-and-swap.
        previous: the run state of the version before, for the metrics.
    """

    record: Record
    event: Event
    due_at: datetime | None = None
    keep_object: bool = True
    erase: bool = False
    on_commit: tuple[OnCommit, ...] = ()
    previous: RunState = RunState.UNKNOWN

    @property
    def run_id(self) -> str:
        """The run this change is about."""
        return self.record.run_id


class Mark(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A note on the present version: no new version, no history row, no event. None leaves a field as it is.

    Attributes:
        version: the note is written only while the record has this version.
        skipped: the handler skipped this version.
        armed: the timers of this visit exist.
        started_by: this process is about to try this version ("" takes the note back).
    """

    run_id: str
    version: int
    skipped: bool | None = None
    armed: bool | None = None
    started_by: str | None = None


class Emit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One more outbox event for the present version: a re-emission, or one that is due later.

    Attributes:
        version: the event is written only while the record has this version.
        due_at: not to be sent before; None means at once.
        swept_at: when the sweeper asked for it; noted on the record. None leaves the note as it is.
    """

    run_id: str
    version: int
    event: Event
    due_at: datetime | None = None
    swept_at: datetime | None = None


Change: TypeAlias = NewVersion | Mark | Emit


class Verdict(Enum):
    """What became of a change."""

    APPLIED = "applied"
    ALREADY_APPLIED = "already applied"
    CONFLICT = "conflict"
    IN_PROGRESS = "in progress"
    BUSY = "busy"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The store's answer to one change.

    Attributes:
        verdict: APPLIED; ALREADY_APPLIED: that version of the history was written by this very attempt (also when
            later versions exist); CONFLICT: the record is not at the expected version; IN_PROGRESS: another live run
            holds the foreign ID; BUSY: not judged and not written, because somebody else's transaction holds the row.
        record: the present record of a CONFLICT (None if there is no such run), the live run of an IN_PROGRESS.
    """

    verdict: Verdict
    record: Record | None = None

    @property
    def ok(self) -> bool:
        """True if the change is durable."""
        return self.verdict is Verdict.APPLIED or self.verdict is Verdict.ALREADY_APPLIED


APPLIED = Outcome(Verdict.APPLIED)
ALREADY_APPLIED = Outcome(Verdict.ALREADY_APPLIED)
BUSY = Outcome(Verdict.BUSY)
