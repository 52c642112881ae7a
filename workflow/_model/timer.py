"""A timer as it is stored: one for each timeout of one visit of a status."""

from datetime import datetime

import msgspec


class TimeoutRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One timer of one visit of a status.

    Attributes:
        id: run ID, visit and timer number; creating the same timer twice is one timer.
        visit: the record's visit for which it was armed; in another visit it is void.
        timer: which timer of the status, counted from 0 in the order of declaration.
        expire_at: when it is due by the declaration.
        due_at: when it is looked at next: `expire_at`, or later after a failure, a claim or a pause.
        completed: it has fired (or was skipped); kept until the run leaves the visit.
        attempt: which try of its function comes next; starts at 1.
        last_error: text of the last failure.
        claims: how often it was claimed; above 1, its result may already be in the run's history.
    """

    id: str
    workflow_name: str
    foreign_id: str
    run_id: str
    status: int
    visit: int
    timer: int
    expire_at: datetime
    due_at: datetime
    created_at: datetime
    completed: bool = False
    attempt: int = 1
    last_error: str = ""
    claims: int = 0


class TimeoutPage(msgspec.Struct, frozen=True):
    """Timers that are due now, and when the next one will be (None: none waits)."""

    timeouts: tuple[TimeoutRecord, ...] = ()
    next_due: datetime | None = None


class TimeoutQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which timers to list, and which page of them; ordered by `due_at`, then id.

    Attributes:
        workflow_name: only this workflow.
        run_id: only this run; None for all.
        statuses: only these; empty for all.
        due_before: only timers with an earlier `due_at`; None for all.
        completed: also those that have fired; without it only those that wait.
        cursor: where an earlier page ended; None for the first page.
        limit: at most so many; at least 1.
    """

    workflow_name: str
    run_id: str | None = None
    statuses: tuple[int, ...] = ()
    due_before: datetime | None = None
    completed: bool = False
    cursor: str | None = None
    limit: int = 100
