"""Acknowledges the finished events of a consumer, in batches, up to the low-water mark of each partition."""

import asyncio

from .._engine.wake import first_of
from .._model.event import Event
from ..protocols import EventReceiver
from .watermark import HOLD_LIMIT, Ticket, Watermark

ACK_DELAY = 0.05
"""Seconds that acknowledgements are collected."""


class Acknowledger:
    """The marks of one opened receiver."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._marks: dict[int, Watermark] = {}
        self._due = asyncio.Event()

    def reset(self) -> None:
        """Forget everything: another receiver was opened, and unacknowledged events come again."""
        self._marks.clear()

    def begin(self, event: Event) -> Ticket:
        """A ticket for a received event; finishing it lets the mark rise."""
        mark = self._marks.get(event.partition)
        if mark is None:
            mark = self._marks[event.partition] = Watermark()
        return mark.begin(event)

    def finished_something(self) -> None:
        """Acknowledge soon."""
        self._due.set()

    async def run(self, receiver: EventReceiver) -> None:
        """Acknowledge until cancelled."""
        while True:
            # An event that is handled for too long lets the mark pass although nothing else happens.
            open_ = any(mark.is_open for mark in self._marks.values())
            await first_of(self._due, at_most=HOLD_LIMIT if open_ else None)
            await asyncio.sleep(ACK_DELAY)
            self._due.clear()
            await self.acknowledge(receiver)

    async def acknowledge(self, receiver: EventReceiver) -> None:
        """Acknowledge the events that are finished now."""
        now = self._loop.time()
        risen = [event for mark in self._marks.values() if (event := mark.rise(now)) is not None]
        if risen:
            await receiver.ack(risen)
