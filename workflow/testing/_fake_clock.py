"""A clock that stands still until a test moves it."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ..protocols import Clock, Timer


class FakeClock(Clock):
    """A clock for tests. Moving it wakes whatever in this process waits for a due time.

    Args:
        now: where it starts; it must have a time zone.
    """

    def __init__(self, now: datetime = datetime(2025, 1, 1, tzinfo=UTC)) -> None:
        _check(now)
        self._now = now.astimezone(UTC)
        self._waiting: list[tuple[datetime, int, _Call]] = []
        self._count = itertools.count()

    def now(self) -> datetime:
        """Where the clock stands."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move the clock forward; a negative `by` moves it back and wakes no sleeper."""
        self.set(self._now + by)

    def set(self, now: datetime) -> None:
        """Set the clock."""
        _check(now)
        self._now = now.astimezone(UTC)
        while self._waiting and self._waiting[0][0] <= self._now:
            heapq.heappop(self._waiting)[2].wake()

    def call_at(self, when: datetime, callback: Callable[[], None]) -> Timer:
        """Arrange a call for when the clock has been moved to `when`."""
        call = _Call(asyncio.get_running_loop(), callback)
        if when <= self._now:
            call.wake()
        else:
            heapq.heappush(self._waiting, (when, next(self._count), call))
        return call


class _Call:
    __slots__ = ("_callback", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback: Callable[[], None] | None = callback

    def wake(self) -> None:
        if self._callback is not None and not self._loop.is_closed():
            # A test may move the clock from a thread, or between two loops.
            self._loop.call_soon_threadsafe(self._run)

    def cancel(self) -> None:
        self._callback = None

    def _run(self) -> None:
        if self._callback is not None:
            self._callback()


def _check(now: datetime) -> None:
    if now.tzinfo is None:
        raise ValueError(f"the clock needs a time zone, not {now!r}")
