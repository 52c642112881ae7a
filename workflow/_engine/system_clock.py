"""The machine's clock."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from ..protocols.clock import Clock, Timer

_LONGEST_TIMER = 3600.0
"""Seconds after which a timer looks at the wall clock again, so that a clock that is set does not mislead it."""


class SystemClock(Clock):
    """The machine's clock."""

    def now(self) -> datetime:
        """The present moment in UTC."""
        return datetime.now(UTC)

    def call_at(self, when: datetime, callback: Callable[[], None]) -> Timer:
        """Arrange a call on the running loop."""
        return _SystemTimer(self, when, callback)


class _SystemTimer:
    __slots__ = ("_callback", "_clock", "_handle", "_loop", "_when")

    def __init__(self, clock: Clock, when: datetime, callback: Callable[[], None]) -> None:
        self._clock, self._when, self._callback = clock, when, callback
        self._loop = asyncio.get_running_loop()
        self._arrange()

    def _arrange(self) -> None:
        seconds = (self._when - self._clock.now()).total_seconds()
        self._handle = self._loop.call_later(min(max(seconds, 0.0), _LONGEST_TIMER), self._due)

    def _due(self) -> None:
        if self._clock.now() < self._when:
            self._arrange()
        else:
            self._callback()

    def cancel(self) -> None:
        self._handle.cancel()
