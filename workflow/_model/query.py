"""The questions asked about runs, as values."""

from datetime import datetime
from enum import Enum

import msgspec

from .run_state import RunState


class Order(Enum):
    """The order of creation in which records are listed."""

    ASCENDING = "asc"
    DESCENDING = "desc"


DEFAULT_LIMIT = 25
"""How many records a listing returns when its limit is not given (R-RSTORE-4)."""


class RecordFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which records are meant; conditions are joined by AND, the values of one condition by OR.

    Attributes:
        workflow_name: only this workflow; None for all.
        foreign_ids, statuses, run_states: only these; empty for all.
        foreign_id_prefix: only foreign IDs that begin with this text, byte for byte; empty for all.
        created_after, created_before: strictly after, strictly before.
        updated_after, updated_before: the same for the moment of the present version.
        failing: only runs whose present step has failed at least once (attempt above 1).
    """

    workflow_name: str | None = None
    foreign_ids: tuple[str, ...] = ()
    foreign_id_prefix: str = ""
    statuses: tuple[int, ...] = ()
    run_states: tuple[RunState, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    updated_before: datetime | None = None
    failing: bool = False


class RecordQuery(RecordFilter, frozen=True, kw_only=True):
    """Which records to list, and which page of them.

    Attributes:
        order: by `created_at`; records of the same moment in the order in which the store numbered them.
        cursor: where an earlier page ended (`Page.next`); None for the first page.
        offset: how many of the filtered, ordered records to leave out, counted from the cursor. The store reads what
            it leaves out: page with `cursor` instead.
        limit: at most so many; at least 1.
    """

    order: Order = Order.ASCENDING
    cursor: str | None = None
    offset: int = 0
    limit: int = DEFAULT_LIMIT


class Count(msgspec.Struct, frozen=True):
    """How many records match.

    Attributes:
        value: the number, or the cap.
        capped: True if there are more than `value`; the store stopped counting there.
    """

    value: int
    capped: bool = False


COUNT_CAP = 10_000
"""Where a store stops counting when it is not told otherwise."""


class StatusCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many runs of a workflow are at one status.

    Attributes:
        live: initiated, running or paused; exact.
        failing: those of the live ones whose present step has failed at least once; exact.
        paused: those of the live ones that are paused; exact.
        finished: all others, up to `COUNT_CAP`.
        capped: True if more than `finished` are finished.
    """

    live: int = 0
    failing: int = 0
    paused: int = 0
    finished: int = 0
    capped: bool = False


class StalledQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs owe work although nothing seems to be coming for them.

    A record is stalled if it was due (`due_at`) before `due_before`, was not re-emitted or was re-emitted at least as
    long ago as it had waited then (`now - reemitted_at >= reemitted_at - due_at`), and one of these holds:

    - it is initiated or running, its status is in `step_statuses`, and this version is not skipped;
    - it is initiated or running, its status is in `timer_statuses`, and the timers of this visit are not armed;
    - it is initiated or running, `known_statuses` is not empty, and its status is none of them;
    - `deletions` is set and it is RequestedDataDeleted.
    """

    workflow_name: str
    step_statuses: tuple[int, ...] = ()
    timer_statuses: tuple[int, ...] = ()
    known_statuses: tuple[int, ...] = ()
    deletions: bool = False
    due_before: datetime
    now: datetime
    limit: int = 100
