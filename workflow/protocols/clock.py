"""Time as the engine sees it.

Only due times use this clock (outbox, timers, schedules, `start_at`, back-off, `pause_retry`, `sweep_after`). Polls
and draining use the loop's time, leases the store's own clock.
"""

from abc import abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Protocol


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
