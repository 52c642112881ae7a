"""Waiting until the engine sleeps: a test that moves the clock must not move it before somebody waits for it."""

import asyncio
from datetime import datetime

from workflow.testing import FakeClock

PATIENCE = 20.0


async def sleeps_until(clock: FakeClock, moment: datetime) -> None:
    """Return once something of the engine sleeps until exactly this moment."""
    async with asyncio.timeout(PATIENCE):
        while not any(when == moment and call._callback is not None for when, _, call in clock._waiting):
            await asyncio.sleep(0.005)
