"""One consumer's reading of one topic: it catches up by itself, then lives on what the shared tail hands it.

It knows the position that it has reached in each partition. What the tail hands over while it catches up is kept aside
and compared with that position, so that nothing is skipped and nothing comes twice.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from workflow.errors import StreamReset
from workflow.protocols import Event, EventReceiver

from .ack_buffer import AckBuffer
from .event_log import EventLog, LogEnd

__all__ = ["LogReceiver"]

_MOST_WAITING = 10_000
"""Events that a slow consumer may have waiting in memory; beyond, it reads them from the log again when it is ready."""
_SMALLEST_READ = 100
"""Events of a partition that are read at once at least."""


class LogReceiver(EventReceiver):
    """Reads some partitions of a topic.

    How to open one: attach it to the tail, look up the positions where it begins, call `start`.

    Args:
        topic: what it reads.
        name: the consumer; empty for a passing reader, which stores no cursor.
        partitions: those that it reads.
        log: where it reads.
        acks: takes its acknowledgements.

    Attributes:
        tell: called with the end of what it has read by itself; the tail sets it.
    """

    def __init__(self, topic: str, name: str, partitions: Sequence[int], log: EventLog, acks: AckBuffer) -> None:
        self.topic, self.name = topic, name
        self._log, self._acks = log, acks
        self._reached: dict[int, int] = dict.fromkeys(partitions, 0)
        self._ready: deque[Event] = deque()
        self._aside: list[Event] = []
        self._behind = True
        self._missed = False
        self._error: StreamReset | None = None
        self.tell: Callable[[LogEnd], None] = lambda end: None
        self._news = asyncio.Event()

    def start(self, positions: Mapping[int, int], *, end: int) -> None:
        """Begin after these positions, looked up when the log reached to `end`."""
        self._reached = dict(positions)
        aside, self._aside = self._aside, []
        self._behind = self._missed or any(position < end for position in positions.values())
        if self._behind:
            # What lies aside is read again with what was missed before it.
            return
        for event in aside:
            self._take(event)

    def owns(self, partition: int) -> bool:
        """True if this reading is of that partition."""
        return partition in self._reached

    def hand(self, event: Event) -> None:
        """A new event of this topic, in order of position; called by the tail."""
        if not self.owns(event.partition):
            return
        if self._behind:
            self._aside.append(event)
        else:
            self._take(event)
        if len(self._aside) + len(self._ready) > _MOST_WAITING:
            self._fall_behind()
        self._news.set()

    def miss(self) -> None:
        """The tail has gone past events that it did not hand over."""
        self._missed = self._behind = True
        self._news.set()

    def fail(self, error: StreamReset) -> None:
        """This log is not there any more; called by the tail."""
        self._error = error
        self._acks.forget()
        self._news.set()

    def _fall_behind(self) -> None:
        # What the consumer has not got yet is forgotten; the position goes back to before the first of it.
        for event in reversed(self._ready):
            self._reached[event.partition] = min(self._reached[event.partition], event.position - 1)
        self._ready.clear()
        self._aside.clear()
        self._missed = self._behind = True

    def _take(self, event: Event) -> None:
        if event.position > self._reached[event.partition]:
            self._reached[event.partition] = event.position
            self._ready.append(event)

    async def receive(self, limit: int) -> Sequence[Event]:
        """At least one event and at most `limit`; waits until there is one.

        Raises:
            StreamReset: the log that it read is not there any more.
        """
        while True:
            if self._error is not None:
                raise self._error
            if self._ready:
                break
            if self._behind:
                await self._catch_up(max(limit, _SMALLEST_READ))
            else:
                self._news.clear()
                await self._news.wait()
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    async def _catch_up(self, limit: int) -> None:
        self._missed = False
        rows = await self._log.beyond(self.topic, dict(self._reached), limit)
        # From here on nothing waits: the position and the events move together.
        counts = dict.fromkeys(self._reached, 0)
        for row in rows:
            counts[row.partition] += 1
            event = self._log.decode(row)
            if event is not None:
                self._take(event)
            self._reached[row.partition] = max(row.position, self._reached[row.partition])
        if rows:
            self.tell(LogEnd(rows[-1].position, rows[-1].data))
        if any(count >= limit for count in counts.values()):
            # Between this page and what is aside there is more: what is aside will be read again with it.
            self._aside.clear()
            return
        aside, self._aside = self._aside, []
        for event in aside:
            self._take(event)
        self._behind = self._missed

    async def ack(self, events: Sequence[Event]) -> None:
        """These and all before them in their partitions are done; written soon, with those of other receivers."""
        if self.name and self._error is None:
            self._acks.acked(self.topic, self.name, events)
