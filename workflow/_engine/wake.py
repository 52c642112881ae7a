"""Sleeping until something happens: a wake-up, a due time, or a safety net.

The flag is cleared before the work is looked for, never after it: a wake-up that arrives during the look is kept.
"""

import asyncio
from datetime import datetime, timedelta

from ..protocols import Clock


class Wake:
    """A flag that many may set and one loop waits for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake the loop, now or when it sleeps next."""
        self._event.set()

    def clear(self) -> None:
        """Forget wake-ups so far; call it before looking for work."""
        self._event.clear()

    async def sleep(self, *, until: datetime | None = None, at_most: timedelta | None = None) -> None:
        """Return at a wake-up, at `until` by the clock, or after `at_most` of the loop's time."""
        if self._event.is_set():
            return
        timers = []
        if until is not None:
            timers.append(self._clock.call_at(until, self._event.set))
        if at_most is not None:
            timers.append(asyncio.get_running_loop().call_later(at_most.total_seconds(), self._event.set))
        try:
            await self._event.wait()
        finally:
            for timer in timers:
                timer.cancel()


async def sleep_unless(stop: asyncio.Event, clock: Clock, until: datetime, *, at_most: timedelta | None = None) -> None:
    """Return at `until` by the clock, after `at_most` of the loop's time, or as soon as `stop` is set."""
    due = asyncio.Event()
    timer = clock.call_at(until, due.set)
    try:
        await first_of(stop, due, at_most=None if at_most is None else at_most.total_seconds())
    finally:
        timer.cancel()


async def first_of(*events: asyncio.Event, at_most: float | None = None) -> None:
    """Return when one of the events is set, or after `at_most` seconds of the loop's time."""
    if any(event.is_set() for event in events):
        return
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=at_most, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
