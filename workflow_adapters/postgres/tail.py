"""The end of the event log: one read a process serves every receiver.

What this process appends itself is handed over without being read, if nothing of anybody else lies between; whatever
else is new is read once, for all topics that somebody here reads, and handed out.
"""

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from workflow.protocols import Event

from .connections import Lane
from .failures import described
from .receiver import PostgresReceiver, read_event

__all__ = ["Tail"]

_PAGE = 2_000
_RETRY_AFTER = 0.2

_log = logging.getLogger("workflow.postgres")

# What lies behind a position in these topics, and, of the same moment, how far the log reaches.
READ = """
select position, partition, topic, event from (
    select position, partition, topic, event from {schema}.events
    where position > $1 and topic = any($2::text[]) order by position limit $3
) as news
union all
select max(position), null, null, null from {schema}.events
"""


class Tail:
    """Follows the log and hands new events to receivers."""

    def __init__(self, lane: Lane, sql: str, safety_net: float) -> None:
        self._lane, self._sql, self._safety_net = lane, sql, safety_net
        self._receivers: dict[str, set[PostgresReceiver]] = {}
        # None while nobody reads: then the log is not followed, and the next reader catches up by itself.
        self._position: int | None = None
        self._news = asyncio.Event()

    def attach(self, receiver: PostgresReceiver) -> None:
        """Hand new events to this receiver from now on."""
        self._receivers.setdefault(receiver.topic, set()).add(receiver)
        if self._position is None:
            self._news.set()

    def detach(self, receiver: PostgresReceiver) -> None:
        """Hand it nothing more."""
        readers = self._receivers[receiver.topic]
        readers.discard(receiver)
        if not readers:
            del self._receivers[receiver.topic]
        if not self._receivers:
            self._position = None

    def wake(self, _name: str | None = None) -> None:
        """There may be new events."""
        self._news.set()

    def appended(self, events: Sequence[Event], places: Sequence[tuple[int, int]]) -> None:
        """This process has committed these events, at these partitions and positions."""
        if self._position is None or not places:
            return
        first, last = places[0][1], places[-1][1]
        if first != self._position + 1 or last - first != len(places) - 1:
            self._news.set()
            return
        self._position = last
        for event, (partition, position) in zip(events, places, strict=True):
            readers = self._receivers.get(event.topic)
            if readers:
                placed = msgspec.structs.replace(event, partition=partition, position=position)
                for receiver in readers:
                    receiver.hand(placed)

    async def follow(self) -> None:
        """Read what is new, for ever."""
        while True:
            try:
                async with asyncio.timeout(self._safety_net):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            try:
                while self._receivers and await self._read():
                    pass
            except Exception as error:  # noqa: BLE001 - nobody else would start this loop again
                _log.warning("cannot read new events: %s", described(error))
                await asyncio.sleep(_RETRY_AFTER)
                self._news.set()

    async def _read(self) -> bool:
        """Read one page; True if there may be more."""
        topics, start = set(self._receivers), self._position
        rows = await self._lane.fetch(self._sql, start, list(topics) if start is not None else [], _PAGE)
        reached = rows[-1][0] or 0
        news = rows[:-1]
        if len(news) == _PAGE:
            reached = news[-1][0]
        position = self._position
        if position is None or start is None:
            self._skip_to(reached, set())
            return False
        for place, partition, topic, data in news:
            if place > position:
                self._hand(topic, data, partition, place)
        if reached > position:
            # Readers of topics that were not asked for may have missed something.
            self._skip_to(reached, topics)
        return len(news) == _PAGE

    def _hand(self, topic: str, data: bytes, partition: int, position: int) -> None:
        readers = [receiver for receiver in self._receivers.get(topic, ()) if receiver.owns(partition)]
        if readers:
            event = read_event(data, partition, position)
            for receiver in readers:
                receiver.hand(event)

    def _skip_to(self, position: int, covered: set[str]) -> None:
        self._position = position
        for topic, readers in self._receivers.items():
            if topic not in covered:
                for receiver in readers:
                    receiver.miss()
