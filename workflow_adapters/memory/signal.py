"""Wake-ups for whoever waits in this process."""

import asyncio


class Signal:
    """Wakes everybody who waits; what was signalled between two waits of one waiter is not missed by it."""

    def __init__(self) -> None:
        self._count = 0
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def count(self) -> int:
        """How often it was set."""
        return self._count

    def set(self) -> None:
        """Wake all waiters."""
        self._count += 1
        if self._waiters:
            waiters, self._waiters = self._waiters, set()
            for waiter in waiters:
                wake(waiter)

    async def wait_beyond(self, count: int) -> None:
        """Return once it was set more often than `count` times."""
        while self._count <= count:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)


def wake(waiter: "asyncio.Future[None]") -> None:
    """Let a waiter go on, in whatever loop it waits, unless it has given up."""
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
