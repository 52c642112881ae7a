"""The end of the event log: one reading for each process serves every receiver.

The tail remembers the last event that it has read. If the log ends before it, or holds another in its place, then this
is not the log that the receivers have read: it was restored or emptied. Their positions mean nothing any more, so all
of them end with `StreamReset`, and are opened again at the stored cursors.

Events that this process has appended itself are handed over without being read, if nothing of another process lies
between. Everything else that is new is read once, for all topics that this process reads, and handed out.
"""

import asyncio
import logging
from collections.abc import Sequence

from workflow.errors import StreamReset
from workflow.protocols import Event

from .event_log import EventLog, LogEnd
from .receiver import LogReceiver
from .text import described

__all__ = ["Tail"]

_RETRY_AFTER = 0.2


class Tail:
    """Follows the log and hands new events to receivers.

    Args:
        log: what it reads.
        safety_net: seconds after which it looks although it was not woken; None where no wake-up can get lost.
        logger: gets the warnings.
    """

    def __init__(self, log: EventLog, safety_net: float | None, logger: logging.Logger) -> None:
        self._log, self._safety_net, self._logger = log, safety_net, logger
        self._receivers: dict[str, set[LogReceiver]] = {}
        # None while there is no receiver: then the log is not followed, and the next receiver catches up by itself.
        self._read_to: LogEnd | None = None
        # What a receiver has read by itself beyond that: it, too, must still be there.
        self._furthest: LogEnd | None = None
        self._news = asyncio.Event()

    def attach(self, receiver: LogReceiver) -> None:
        """Hand new events to this receiver from now on."""
        self._receivers.setdefault(receiver.topic, set()).add(receiver)
        receiver.tell = self._told
        if self._read_to is None:
            self._news.set()

    def detach(self, receiver: LogReceiver) -> None:
        """Hand it nothing more."""
        readers = self._receivers[receiver.topic]
        readers.discard(receiver)
        if not readers:
            del self._receivers[receiver.topic]
        if not self._receivers:
            self._read_to = self._furthest = None

    def _told(self, end: LogEnd) -> None:
        """A receiver has read up to there by itself."""
        if self._furthest is None or end.position > self._furthest.position:
            self._furthest = end

    def wake(self) -> None:
        """There may be new events."""
        self._news.set()

    def appended(self, events: Sequence[Event], last_bytes: bytes) -> None:
        """This process has committed these events, with their partitions and positions, in order of position.

        Args:
            last_bytes: the last of them, as it is stored.
        """
        if self._read_to is None or not events:
            return
        first, last = events[0].position, events[-1].position
        if first != self._read_to.position + 1 or last - first != len(events) - 1:
            self._news.set()
            return
        self._read_to = LogEnd(last, last_bytes)
        for event in events:
            for receiver in self._receivers.get(event.topic, ()):
                receiver.hand(event)

    async def follow(self) -> None:
        """Read what is new, until cancelled."""
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
            except Exception as error:  # noqa: BLE001 - reported; no other task would start this loop again
                self._logger.warning("new events cannot be read: %s", described(error))
                await asyncio.sleep(_RETRY_AFTER)
                self._news.set()

    async def _read(self) -> bool:
        """Read one page; True if there may be more."""
        topics, start = set(self._receivers), self._read_to
        if start is None:
            end = await self._log.end()
            if self._receivers:
                self._skip_to(end, set())
            return False
        furthest = self._furthest
        if furthest is not None and furthest.position > start.position:
            if (await self._log.news(furthest, topics)).is_other:
                self._reset(furthest)
                return True
        else:
            self._furthest = None
        news = await self._log.news(start, topics)
        reached = self._read_to
        if reached is None:
            return False  # the last receiver has left meanwhile
        if news.is_other:
            self._reset(start)
            return True
        for row in news.rows:
            if row.position > reached.position:
                readers = [one for one in self._receivers.get(row.topic, ()) if one.owns(row.partition)]
                event = self._log.decode(row) if readers else None
                if event is not None:
                    for receiver in readers:
                        receiver.hand(event)
        if news.end.position > reached.position:
            # Receivers of topics that were not asked for may have missed something.
            self._skip_to(news.end, topics)
        return news.more

    def _reset(self, reached: LogEnd) -> None:
        why = f"the event log is another one than before: it lacks what was read at position {reached.position}"
        self._logger.error("%s", why)
        self._read_to = self._furthest = None
        for readers in list(self._receivers.values()):
            for receiver in readers:
                receiver.fail(StreamReset(why))

    def _skip_to(self, end: LogEnd, covered: set[str]) -> None:
        self._read_to = end
        for topic, readers in self._receivers.items():
            if topic not in covered:
                for receiver in readers:
                    receiver.miss()
