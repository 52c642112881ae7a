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
