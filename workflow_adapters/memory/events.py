"""Topics in lists, cursors in dictionaries."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from msgspec.structs import replace

from workflow.protocols import Backlog, Event, EventReceiver, EventStreamer, Shard, partition_of

from ..kit.signal import Signal

PARTITIONS = 32
"""Partitions of every topic."""


class _Partition:
    """The kept events of one partition of one topic; positions count from 1 and never start over."""

    __slots__ = ("events", "first")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.first = 1

    @property
    def end(self) -> int:
        """The position of the last event sent."""
        return self.first + len(self.events) - 1

    def after(self, position: int, limit: int) -> list[Event]:
        """Kept events beyond a position."""
        start = max(position + 1 - self.first, 0)
        return self.events[start : start + limit]


KEEP = 1000
"""Events a partition keeps before it drops those that every cursor has passed, or that nobody has a cursor for."""
TRIM_EVERY = 64
"""Events of a partition between looks for what may be dropped."""


class _Topic:
    def __init__(self) -> None:
        self.partitions = [_Partition() for _ in range(PARTITIONS)]
        self.signals = [Signal() for _ in range(PARTITIONS)]
        self.readers: set[_Receiver] = set()
        self.cursors: dict[str, dict[int, int]] = {}

    def backlog(self, name: str) -> Backlog:
        """The events that this consumer has not acknowledged."""
        cursors = self.cursors.get(name, {})
        unread = 0
        oldest: datetime | None = None
        for index, partition in enumerate(self.partitions):
            first = partition.after(cursors.get(index, 0), 1)
            if first:
                unread += partition.end - first[0].position + 1
                oldest = first[0].created_at if oldest is None else min(oldest, first[0].created_at)
        return Backlog(events=unread, oldest=oldest)

    def trim(self, index: int) -> None:
        partition = self.partitions[index]
        passed = min((cursors.get(index, 0) for cursors in self.cursors.values()), default=partition.end - KEEP)
        for reader in self.readers:
            passed = min(passed, reader.position(index))
        needless = min(max(passed - partition.first + 1, 0), len(partition.events))
        del partition.events[:needless]
        partition.first += needless


class MemoryEventStreamer(EventStreamer):
    """Topics in lists."""

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}

    def _topic(self, name: str) -> _Topic:
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic()
        return topic

    async def send(self, events: Sequence[Event]) -> None:
        """Append each event to its partition."""
        woken: set[_Receiver] = set()
        for event in events:
            topic = self._topic(event.topic)
            index = partition_of(event.run_id, PARTITIONS)
            partition = topic.partitions[index]
            position = partition.end + 1
            partition.events.append(replace(event, partition=index, position=position))
            if len(partition.events) > KEEP and position % TRIM_EVERY == 0:
                topic.trim(index)
            woken.update(topic.readers)
        for reader in woken:
            reader.signal.set()

    def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AbstractAsyncContextManager[EventReceiver]:
        """Open a reading."""
        return self._open(topic, name, shard, from_latest)

    @asynccontextmanager
    async def _open(self, topic: str, name: str, shard: Shard, from_latest: bool) -> AsyncIterator[EventReceiver]:
        source = self._topic(topic)
        receiver = _Receiver(source, name, shard, from_latest)
        source.readers.add(receiver)
        try:
            yield receiver
        finally:
            source.readers.discard(receiver)

    def partitions(self, topic: str) -> int:
        """The number of partitions, the same for every topic."""
        return PARTITIONS

    async def backlog(self, consumers: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Backlog]:
        """The events beyond the cursors of each consumer."""
        return {(topic, name): self._topic(topic).backlog(name) for topic, name in consumers}


class _Receiver(EventReceiver):
    def __init__(self, topic: _Topic, name: str, shard: Shard, from_latest: bool) -> None:
        self._topic, self._name = topic, name
        self.signal = Signal()
        stored = topic.cursors.setdefault(name, {}) if name else {}
        self._positions: dict[int, int] = {}
        for index in shard.partitions(PARTITIONS):
            end = topic.partitions[index].end
            start = end if from_latest or not name else 0
            position = stored.get(index, start)
            # A cursor beyond the end belongs to a stream that was lost: start over.
            self._positions[index] = position if position <= end else 0
            if name and from_latest:
                stored.setdefault(index, start)

    def position(self, index: int) -> int:
        """How far this reader has read; the end for a partition it does not read."""
        return self._positions.get(index, self._topic.partitions[index].end)

    async def receive(self, limit: int) -> Sequence[Event]:
        """What is beyond the positions."""
        while True:
            seen = self.signal.count
            found: list[Event] = []
            for index, position in self._positions.items():
                partition = self._topic.partitions[index]
                if partition.end > position:
                    events = partition.after(position, limit - len(found))
                    if events:
                        found += events
                        self._positions[index] = events[-1].position
                    if len(found) >= limit:
                        break
            if found:
                return found
            await self.signal.wait_beyond(seen)

    async def ack(self, events: Sequence[Event]) -> None:
        """Move the cursors, forward only."""
        if not self._name:
            return
        cursors = self._topic.cursors[self._name]
        for event in events:
            index = event.partition
            stored = cursors.get(index, 0)
            if event.position > stored or stored > self._topic.partitions[index].end:
                cursors[index] = event.position
