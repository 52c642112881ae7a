"""What could not be decoded, sent or handled, put aside for a person."""

from datetime import datetime

import msgspec


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could not be decoded, sent or handled, put aside with its bytes so that others go on.

    Attributes:
        id: given by the store; empty in a letter not yet stored.
        source: what put it aside: "outbox", or the name of a consumer.
        run_id: the run it concerns, if known; deleting the run's data erases the bytes.
        data: the raw bytes.
        reason: why, for a person.
    """

    id: str = ""
    workflow_name: str
    source: str
    run_id: str = ""
    data: bytes
    reason: str
    created_at: datetime


class DeadLetterQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters to list, and which page of them, oldest first.

    Attributes:
        workflow_name: only this workflow.
        run_id: only those about this run; None for all.
        cursor: where an earlier page ended; None for the first page.
        limit: at most so many; at least 1.
    """

    workflow_name: str
    run_id: str | None = None
    cursor: str | None = None
    limit: int = 100
