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


class RecordQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which records to list; conditions are joined by AND, the values of one condition by OR.

    Attributes:
        workflow_name: only this workflow; None for all.
        foreign_ids, statuses, run_states: only these; empty for all.
        created_after, created_before: strictly after, strictly before.
        order: by creation, as the store numbered it.
        offset: how many of the filtered, ordered records to leave out.
        limit: at most so many; at least 1.
    """

    workflow_name: str | None = None
    foreign_ids: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    run_states: tuple[RunState, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    order: Order = Order.ASCENDING
    offset: int = 0
    limit: int = DEFAULT_LIMIT


class StalledQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs owe work although nothing seems to be coming for them.

    A record is stalled if it was due (`due_at`) before `due_before`, was not swept or was swept at least as long ago
    as it had waited then (`now - swept_at >= swept_at - due_at`), and one of these holds:

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
