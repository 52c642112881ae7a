"""One consumer's reading of a topic: it catches up from the table, then takes what the tail of the process pushes."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

from workflow._event import Event
from workflow.protocols import EventReceiver

from ..memory.signal import Signal
from .database import Database
from .stream import beyond, event

AHEAD = 20_000
"""Events handed to a receiver that it has not taken; beyond that it reads from the table again."""


class Acknowledging(Protocol):
    """Where a receiver's acknowledgements go."""

    def ack(self, name: str, positions: Mapping[int, int]) -> None:
        """Note how far a consumer is, by stream."""


class Receiver(EventReceiver):
    """A reading from given positions on.

    Args:
        name: the consumer; empty for a passing reader, which acknowledges nothing.
        positions: the last event that is done, by stream.
    """

    def __init__(
        self, target: Acknowledging, database: Database, name: str, topic: int, positions: dict[int, int]
    ) -> None:
        self._target, self._database = target, database
        self._name, self._positions = name, positions
        self._first = topic * database.partitions
        self._pushed: deque[Event] = deque()
        self._arrived = Signal()
        self._behind = True
        self._overrun = False

    def owns(self, stream: int) -> bool:
        """True if this receiver reads that partition."""
        return stream in self._positions

    def push(self, pushed: Event) -> None:
        """An event of this receiver's that the tail has read."""
        if len(self._pushed) >= AHEAD:
            # Too far behind to keep in memory: read from the table again.
            self._pushed.clear()
            self._overrun = self._behind = True
        self._pushed.append(pushed)
        self._arrived.set()

    async def receive(self, limit: int) -> Sequence[Event]:
        """What is beyond the positions."""
        while True:
            while self._behind:
                if caught := await self._catch_up(limit):
                    return caught
            seen = self._arrived.count
            if taken := self._take(limit):
                return taken
            await self._arrived.wait_beyond(seen)

    def _take(self, limit: int) -> list[Event]:
        taken: list[Event] = []
        while self._pushed and len(taken) < limit:
            one = self._pushed.popleft()
            stream = self._first + one.partition
            if one.position > self._positions[stream]:
                self._positions[stream] = one.position
                taken.append(one)
        return taken

    async def _catch_up(self, limit: int) -> list[Event]:
        self._pushed.clear()
        self._overrun = False
        positions = dict(self._positions)
        rows = await self._database.read(lambda c: beyond(c, positions, limit))
        if len(rows) < limit and not self._overrun:
            # Everything committed before this read is in hand; what came since is pushed, or will be.
            self._behind = False
        events = []
        for position, stream, data in rows:
            self._positions[stream] = position
            if (found := event(data, stream - self._first, position)) is not None:
                events.append(found)
        return events

    async def ack(self, events: Sequence[Event]) -> None:
        """Move the cursors, forward only, soon."""
        if self._name:
            positions: dict[int, int] = {}
            for one in events:
                stream = self._first + one.partition
                positions[stream] = max(one.position, positions.get(stream, 0))
            self._target.ack(self._name, positions)
