"""Versions that come before they are due."""

import asyncio
from datetime import datetime

from .._engine.engine import Engine
from .._model.record import Record

HELD = 0.5
"""Seconds at most that an early version keeps its slot before its event is emitted again."""


async def came_early(engine: Engine, record: Record, due: datetime) -> bool:
    """True if this version is not due yet; then its event comes again when it is.

    It comes early as a duplicate of a delayed event, by a relay whose clock is ahead of ours, or because a consume lag
    is waited for here and not in the outbox.
    """
    if due <= record.updated_at:
        # Due at once when it was made, and so due now, whatever the clocks of two machines say.
        return False
    early = due - engine.now()
    if early.total_seconds() <= 0:
        return False
    if due == record.due_at:
        # The outbox held it back already. A relay whose clock is ahead would send it again at once.
        await asyncio.sleep(min(early.total_seconds(), HELD))
    await engine.commits.apply(engine.transitions.emitted(record, due))
    return True
