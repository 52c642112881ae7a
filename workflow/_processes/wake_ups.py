"""Hearing of work from a store that announces it; one that does not is polled."""

import asyncio

from .._engine.wake import Wake
from ..errors import Unavailable
from ..protocols import WakeUp, WakeUps

RETRY = 1.0
"""Seconds before a store that cannot be reached is listened to again; the loop polls meanwhile."""


async def listen(store: object, kind: WakeUp, workflow_name: str, wake: Wake) -> None:
    """Set `wake` whenever the store says that there may be work, until cancelled."""
    if not isinstance(store, WakeUps):
        return
    while True:
        try:
            async with store.subscribe(kind, workflow_name) as subscription:
                # Something may have been written before the subscription began.
                wake.set()
                while True:
                    await subscription.wait()
                    wake.set()
        except Unavailable:
            await asyncio.sleep(RETRY)
