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
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.get_loop().call_soon_threadsafe(resolve, waiter)
            self._waiters.clear()

    async def wait_beyond(self, count: int) -> None:
        """Return once it was set more often than `count` times."""
        while self._count <= count:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)


def resolve(waiter: "asyncio.Future[None]") -> None:
    """Let a waiter go on, unless it has given up."""
    if not waiter.done():
        waiter.set_result(None)
