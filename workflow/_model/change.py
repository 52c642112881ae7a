"""The changes that may be written to a record store, and its answers.

Every write is one of two changes, and each is guarded by the version it was computed from (compare-and-swap). Only
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

OnCommit: TypeAlias = Callable[[Any], object]
"""A user's function that writes business rows in the transaction that moves the run.

It is called with the adapter's connection; an adapter documents which, and whether the function may be `async def`.
"""


class NewVersion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A new version of a run: the record, its history row and its outbox event, in one transaction.

    Version 1 creates the run, if no live run holds the foreign ID; version n + 1 replaces version n.

    Attributes:
        record: the new version. The store keeps its own marks, by the rule of `Marks.after`; those in `record` are
            the writer's expectation.
        event: its event; sent not before `due_at` (None: at once).
        keep_object: whether the history row holds the object; a failed attempt's does not.
        erase: erase object, error and reason texts from all earlier history rows, data and reason of this run's dead
            letters, and forget the callbacks that are held for this run alone, in the same transaction.
        takes: ids of held callbacks that this version delivers: they are marked taken, and their payloads dropped, in
            the same transaction. If one of them is not held any more, the change is a CONFLICT.
        on_commit: functions to call with the transaction's connection, after the compare-and-swap.
        previous: the run state of the version before, for the metrics.
        base_attempt: the attempt id of the version that this one was made from; if the present version was written by
            another attempt, the change is a CONFLICT although the number fits. A store that went back in time may
            have two versions of one number. Empty: any.
    """

    record: Record
    event: Event
    due_at: datetime | None = None
    keep_object: bool = True
    erase: bool = False
    takes: tuple[str, ...] = ()
    on_commit: tuple[OnCommit, ...] = ()
    previous: RunState = RunState.UNKNOWN
    base_attempt: str = ""

    @property
    def run_id(self) -> str:
        """The run this change is about."""
        return self.record.run_id

    @property
    def expects(self) -> int:
        """The version that the record must have; 0: there must be none."""
        return self.record.version - 1


class Note(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something to write beside the present version: marks on it, one more event of it, or both.

    It makes no new version and no history row. None leaves a mark as it is.

    Attributes:
        version: the note is written only while the record has this version.
        skipped, timers_armed, claimed_by, reemitted_at: the new values of these marks ("" takes a claim back).
        event: one more outbox event for this version: a re-emission, or one that is due later.
        due_at: the event is not to be sent before; None means at once.
        base_attempt: the attempt id of that version, as for a new version; empty: any.
    """

    run_id: str
    version: int
    base_attempt: str = ""
    skipped: bool | None = None
    timers_armed: bool | None = None
    claimed_by: str | None = None
    reemitted_at: datetime | None = None
    event: Event | None = None
    due_at: datetime | None = None

    @property
    def expects(self) -> int:
        """The version that the record must have."""
        return self.version

    @property
    def marks_anything(self) -> bool:
        """True if the note changes a mark."""
        return not (
            self.skipped is None and self.timers_armed is None and self.claimed_by is None and self.reemitted_at is None
        )


Change: TypeAlias = NewVersion | Note


class Verdict(Enum):
    """What became of one change. Each change is judged by itself, whatever became of the others of its batch."""

    APPLIED = "applied"
    """Written, and durable."""
    ALREADY_APPLIED = "already applied"
    """That version of the history was written by this very attempt, also when later versions exist."""
    CONFLICT = "conflict"
    """Not written: the record is not at the expected version, or a held callback is gone."""
    IN_PROGRESS = "in progress"
    """Not written: another live run holds the foreign ID."""
    BUSY = "busy"
    """Not judged and not written: another transaction holds the row. Send it again later."""
    REFUSED = "refused"
    """Not written, and never will be: the store cannot hold it, or its `on_commit` function failed."""
    UNKNOWN = "unknown"
    """Perhaps written: the connection was lost. Send it again, with the same attempt id."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The store's answer to one change.

    Attributes:
        verdict: what became of it.
        record: the present record of a CONFLICT (None if there is no such run), the live run of an IN_PROGRESS.
        error: why a change was REFUSED; names the field and the value.
    """

    verdict: Verdict
    record: Record | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """True if the change is durable."""
        return self.verdict is Verdict.APPLIED or self.verdict is Verdict.ALREADY_APPLIED


APPLIED = Outcome(Verdict.APPLIED)
ALREADY_APPLIED = Outcome(Verdict.ALREADY_APPLIED)
BUSY = Outcome(Verdict.BUSY)
UNKNOWN = Outcome(Verdict.UNKNOWN)


def refused(error: Exception) -> Outcome:
    """The answer to a change that the store cannot hold."""
    return Outcome(Verdict.REFUSED, error=error)
