"""One signal for the tasks of a process."""

import asyncio

__all__ = ["Signal", "wake"]


class Signal:
    """Wakes the tasks that wait for it, in whatever event loop each of them waits.

    It counts how often it was set. A waiter remembers the count it has seen, so it misses nothing that happens
    between two of its waits.
    """

    def __init__(self) -> None:
        self._count = 0
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def count(self) -> int:
        """How often it was set."""
        return self._count

    @property
    def awaited(self) -> bool:
        """True while a task waits for it."""
        return bool(self._waiters)

    def set(self) -> None:
        """Wake all waiters."""
        self._count += 1
        if self._waiters:
            waiters, self._waiters = self._waiters, set()
            for waiter in waiters:
                wake(waiter)

    async def wait_beyond(self, count: int) -> None:
        """Return once it was set more often than `count` times. Safe to cancel."""
        while self._count <= count:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)


def wake(waiter: "asyncio.Future[None]") -> None:
    """Resume a waiter in its own loop, unless it was cancelled."""
    loop = waiter.get_loop()
    if waiter.done() or loop.is_closed():
        return
    if loop is asyncio._get_running_loop():  # noqa: SLF001 - the public name raises where there is none
        waiter.set_result(None)
    else:
        loop.call_soon_threadsafe(_resolve, waiter)


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
