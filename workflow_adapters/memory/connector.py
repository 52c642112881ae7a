"""A foreign stream in memory, for tests and examples."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from msgspec.structs import replace

from workflow.protocols import ConnectorEvent, ConnectorReceiver, ConnectorSource, Shard, partition_of

from ..kit.signal import Signal
from .events import PARTITIONS


class MemoryConnector(ConnectorSource):
    """A foreign stream in memory, for tests: events in a list, a cursor for each consumer name and partition."""

    def __init__(self, events: Sequence[ConnectorEvent] = ()) -> None:
        self._events: list[ConnectorEvent] = []
        self._cursors: dict[str, dict[int, int]] = {}
        self._signals: set[Callable[[], None]] = set()
        for event in events:
            self.append(event)

    def append(self, event: ConnectorEvent) -> None:
        """Add an event at the end."""
        partition = partition_of(event.id, PARTITIONS)
        self._events.append(replace(event, partition=partition, position=len(self._events) + 1))
        for signal in self._signals:
            signal()

    def receiver(self, name: str, *, shard: Shard) -> AbstractAsyncContextManager[ConnectorReceiver]:
        """Open a reading."""
        return self._open(name, shard)

    @asynccontextmanager
    async def _open(self, name: str, shard: Shard) -> AsyncIterator[ConnectorReceiver]:
        receiver = _ConnectorReceiver(self._events, self._cursors.setdefault(name, {}), shard)
        self._signals.add(receiver.signal.set)
        try:
            yield receiver
        finally:
            self._signals.discard(receiver.signal.set)


class _ConnectorReceiver(ConnectorReceiver):
    def __init__(self, events: list[ConnectorEvent], cursors: dict[int, int], shard: Shard) -> None:
        self._events, self._cursors, self._shard = events, cursors, shard
        self._next = 0
        self.signal = Signal()

    async def receive(self, limit: int) -> Sequence[ConnectorEvent]:
        """What is beyond the cursors and was not received yet."""
        while True:
            seen = self.signal.count
            found: list[ConnectorEvent] = []
            while self._next < len(self._events) and len(found) < limit:
                event = self._events[self._next]
                self._next += 1
                if self._shard.owns(event.partition) and event.position > self._cursors.get(event.partition, 0):
                    found.append(event)
            if found:
                return found
            await self.signal.wait_beyond(seen)

    async def ack(self, events: Sequence[ConnectorEvent]) -> None:
        """Move the cursors, forward only."""
        for event in events:
            self._cursors[event.partition] = max(event.position, self._cursors.get(event.partition, 0))
