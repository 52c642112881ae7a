"""Acknowledgements of all receivers of a process, gathered and written together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from workflow.protocols import Event

from .text import described

__all__ = ["AckBuffer", "Cursor"]

Cursor: TypeAlias = tuple[str, str, int]
"""Topic, consumer name and partition."""

_DELAY = 0.2
"""Seconds that acknowledgements gather before they are written."""
_RETRY = 1.0
"""Seconds until acknowledgements that could not be written are tried again."""


class AckBuffer:
    """Cursors that are on their way to the store.

    Args:
        write: moves these cursors in the store, only forward. What a crash takes back is read again, so it need not
            wait for the disk.
        log: gets the warnings.
    """

    def __init__(self, write: Callable[[Mapping[Cursor, int]], Awaitable[object]], log: logging.Logger) -> None:
        self._write, self._log = write, log
        self._positions: dict[Cursor, int] = {}
        self._writing = asyncio.Lock()
        self._due: asyncio.TimerHandle | None = None
        self._flushes: set[asyncio.Task[bool]] = set()

    def acked(self, topic: str, name: str, events: Sequence[Event]) -> None:
        """A consumer is done with these events, and with all before them in their partitions."""
        for event in events:
            self.move(topic, name, event.partition, event.position)

    def move(self, topic: str, name: str, partition: int, position: int) -> None:
        """Move a cursor to this position soon, unless it is further already."""
        cursor = (topic, name, partition)
        self._positions[cursor] = max(position, self._positions.get(cursor, position))
        self._flush_in(_DELAY)

    def forget(self) -> None:
        """Drop what has gathered: it belongs to a log that is not there any more."""
        self._positions.clear()

    async def flush(self) -> bool:
        """Write now what has gathered; True if nothing waits any more.

        A failure is logged, and the acknowledgements wait for the next try.
        """
        async with self._writing:
            if self._due is not None:
                self._due.cancel()
                self._due = None
            positions, self._positions = self._positions, {}
            if not positions:
                return True
            try:
                await self._write(positions)
            except BaseException as error:
                if self._due is not None:
                    self._due.cancel()
                    self._due = None
                self._flush_in(_RETRY)
                newer, self._positions = self._positions, positions
                for (topic, name, partition), position in newer.items():
                    self.move(topic, name, partition, position)
                if not isinstance(error, Exception):
                    raise
                self._log.warning("acknowledgements wait: %s", described(error))
                return False
            return True

    async def close(self) -> None:
        """Write the rest. Events whose acknowledgement is lost come again."""
        written = await self.flush()
        if self._due is not None:
            self._due.cancel()
            self._due = None
        for flush in self._flushes:
            flush.cancel()
        await asyncio.gather(*self._flushes, return_exceptions=True)
        if not written:
            self._log.warning("acknowledgements are lost, their events come again")

    def _flush_in(self, seconds: float) -> None:
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _begin(self) -> None:
        self._due = None
        flush = asyncio.get_running_loop().create_task(self.flush())
        self._flushes.add(flush)
        flush.add_done_callback(self._flushes.discard)
