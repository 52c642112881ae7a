"""Notices that a store went back in time while this process lived.

A standby that takes over may have lost the last seconds; a backup is restored; a stream is emptied. What is true then
is what the store says now: everything that this process remembers of it may be wrong. So whoever finds a version or a
position beyond the store's says so here, memories of the store start anew, and the sweeper looks at once and often.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .log import SafeLogger

HURRY = 60.0
"""Seconds after the last sign of a rewind in which the sweeper hurries; a rewind in this time is the same one."""


class Rewinds:
    """The rewinds of the stores of one workflow, as this process noticed them.

    Attributes:
        signs: how often something was found that the store does not know any more.
    """

    def __init__(self, workflow_name: str, logger: SafeLogger) -> None:
        self._workflow_name, self._logger = workflow_name, logger
        self.signs = 0
        self._until = 0.0
        self._listeners: list[Callable[[], None]] = []

    def noticed(self, why: str) -> None:
        """Something was found that the store, or the stream, does not know any more."""
        self.signs += 1
        now = asyncio.get_running_loop().time()
        is_new, self._until = now >= self._until, now + HURRY
        for call in self._listeners:
            call()
        if is_new:
            extra = {"workflow": self._workflow_name}
            self._logger.error("the store went back in time: %s; runs are looked for anew", why, extra=extra)

    @property
    def hurry(self) -> bool:
        """True for a while after a rewind."""
        return bool(self.signs) and asyncio.get_running_loop().time() < self._until

    @contextmanager
    def told(self, call: Callable[[], None]) -> Iterator[None]:
        """Call this at each sign of a rewind, inside the context."""
        self._listeners.append(call)
        try:
            yield
        finally:
            self._listeners.remove(call)
