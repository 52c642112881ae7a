"""A callback that came before its run did, held until the run arrives."""

from datetime import datetime

import msgspec


class HeldCallback(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A callback that waits for its run.

    Attributes:
        id: names the callback within its workflow and foreign ID; one id is delivered once.
        foreign_id: whose run it is for.
        run_id: only this run; empty for the live run of the foreign ID, whichever that is.
        status: the status whose callbacks are called.
        payload: the argument of the call.
        created_at: when it was held, by the engine's clock.
        expires_at: when it is given up and becomes a dead letter.
        taken_by: the run that took it; empty while it is held. A taken one is kept without its payload, so that the
            same id is not delivered again.
    """

    id: str
    workflow_name: str
    foreign_id: str
    run_id: str = ""
    status: int
    payload: bytes
    created_at: datetime
    expires_at: datetime
    taken_by: str = ""
