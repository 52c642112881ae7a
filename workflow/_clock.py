"""Time as the engine sees it: what is due when.

Only due times use this clock (outbox, timers, schedules, `start_at`, back-off, `pause_retry`, `sweep_after`). Polls
and draining use the loop's time, leases the store's own clock.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

_LONGEST_TIMER = 3600.0
"""Seconds after which a timer looks at the wall clock again, so that a clock that is set does not mislead it."""


class Timer(Protocol):
    """A call that has been arranged."""

    def cancel(self) -> None:
        """Call it off; harmless after it has happened."""


class Clock(Protocol):
    """Where due times come from. `workflow.testing.FakeClock` is one that a test moves."""

    @abstractmethod
    def now(self) -> datetime:
        """The present moment, with a time zone (UTC)."""

    @abstractmethod
    def call_at(self, when: datetime, callback: Callable[[], None]) -> Timer:
        """Arrange that `callback` is called on the running loop once `now()` is `when` or later, never directly."""


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
