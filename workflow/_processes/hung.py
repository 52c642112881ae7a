"""Looks for handlers that do not end, and says so."""

import asyncio

from .._engine.engine import Engine

LOOK = 30.0
"""Seconds between two looks."""


async def report_hung(engine: Engine) -> None:
    """Report handlers that take long, until cancelled."""
    while True:
        await asyncio.sleep(LOOK)
        engine.in_flight.report()
