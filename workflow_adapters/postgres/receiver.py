"""One consumer's reading of one topic: catches up by itself, then lives on what the shared tail hands it.

Owns the position it has reached in each partition. What the tail hands over while it catches up is kept aside and
compared with that position, so that nothing is skipped and nothing comes twice.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from workflow.protocols import Event, EventReceiver

from .connections import Lane

__all__ = ["PostgresReceiver"]

_MOST_WAITING = 10_000
"""Events a slow consumer may have waiting in memory; beyond, it reads them from the table again when it is ready."""

CATCH_UP = """
select e.position, e.partition, e.event from unnest($2::smallint[], $3::bigint[]) as p (number, after)
cross join lateral (
    select position, partition, event from {schema}.events
    where topic = $1 and partition = p.number and position > p.after order by position limit $4
) as e order by e.position
"""

_decode = msgspec.json.Decoder(Event).decode


def read_event(data: bytes, partition: int, position: int) -> Event:
    """The event of a row, told where the stream put it."""
    return msgspec.structs.replace(_decode(data), partition=partition, position=position)


class PostgresReceiver(EventReceiver):
    """Reads some partitions of a topic."""

    def __init__(
        self,
        topic: str,
        name: str,
        lane: Lane,
        catch_up: str,
        acks: dict[tuple[str, str, int], int],
        acked: asyncio.Event,
    ) -> None:
        self.topic, self.name = topic, name
        self._lane, self._sql, self._acks, self._acked = lane, catch_up, acks, acked
        self._seen: dict[int, int] = {}
        self._ready: deque[Event] = deque()
        self._aside: list[Event] = []
        self._behind = True
        self._missed = False
        self._news = asyncio.Event()

    def start(self, positions: Mapping[int, int], *, behind: bool) -> None:
        """Begin after these positions; `behind` when there may be events between them and the tail's."""
        self._seen = dict(positions)
        aside, self._aside = self._aside, []
        self._behind = behind or self._missed
        if self._behind:
            # What lies aside is read again with what was missed before it.
            return
        for event in aside:
            self._take(event)

    def owns(self, partition: int) -> bool:
        """True if this reading is of that partition."""
        return partition in self._seen or not self._seen

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

    def _fall_behind(self) -> None:
        # What the consumer has not got yet is forgotten; the position goes back to before the first of it.
        for event in reversed(self._ready):
            self._seen[event.partition] = min(self._seen[event.partition], event.position - 1)
        self._ready.clear()
        self._aside.clear()
        self._missed = self._behind = True

    def _take(self, event: Event) -> None:
        if event.position > self._seen[event.partition]:
            self._seen[event.partition] = event.position
            self._ready.append(event)

    async def receive(self, limit: int) -> Sequence[Event]:
        """At least one event and at most `limit`; waits until there is one."""
        while not self._ready:
            if self._behind:
                await self._catch_up(max(limit, 100))
            else:
                self._news.clear()
                await self._news.wait()
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    async def _catch_up(self, limit: int) -> None:
        self._missed = False
        places = list(self._seen)
        rows = await self._lane.fetch(self._sql, self.topic, places, [self._seen[place] for place in places], limit)
        # From here on nothing waits: the position and the events move together.
        counts = dict.fromkeys(places, 0)
        for position, partition, data in rows:
            counts[partition] += 1
            self._take(read_event(data, partition, position))
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
        if not self.name:
            return
        for event in events:
            key = (self.topic, self.name, event.partition)
            if event.position > self._acks.get(key, 0):
                self._acks[key] = event.position
        if events:
            self._acked.set()
