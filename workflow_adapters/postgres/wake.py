"""Flags that say "there may be something new", one for each name."""

import asyncio

__all__ = ["SAFETY_NET", "Flags"]

SAFETY_NET = 5.0
"""Seconds after which a wait ends although nothing was heard: wake-ups may be lost."""


class Flags:
    """A flag for each name; whoever waits for it clears it by returning.

    A waiter that is cancelled on its way out leaves the flag set, so that no wake-up is lost with it.
    """

    def __init__(self, safety_net: float = SAFETY_NET) -> None:
        self._safety_net = safety_net
        self._set: set[str] = set()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def set(self, name: str | None) -> None:
        """Raise the flag of this name (None: of every name anybody waits for)."""
        for each in [name] if name is not None else list(self._waiting):
            self._set.add(each)
            for waiter in self._waiting.get(each, ()):
                if not waiter.done():
                    waiter.set_result(None)

    def awaited(self, name: str) -> bool:
        """True while somebody waits for this name."""
        return bool(self._waiting.get(name))

    async def wait(self, name: str) -> None:
        """Return once the flag was raised, or after the safety net."""
        waiting = self._waiting.setdefault(name, set())
        if name not in self._set:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting.add(waiter)
            try:
                async with asyncio.timeout(self._safety_net):
                    await waiter
            except TimeoutError:
                return
            finally:
                waiting.discard(waiter)
        self._set.discard(name)
