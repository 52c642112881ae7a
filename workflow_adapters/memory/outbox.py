"""One workflow's outbox in memory."""

import heapq
import itertools
from collections import OrderedDict
from datetime import datetime

from workflow._event import OutboxEvent, OutboxPage

from .signal import Signal


class Outbox:
    """One workflow's outbox: events to send at once in order of commit, the others by due time."""

    def __init__(self) -> None:
        self.now: OrderedDict[str, OutboxEvent] = OrderedDict()
        self.later: list[tuple[datetime, int, str]] = []
        self.waiting: dict[str, OutboxEvent] = {}
        self.signal = Signal()
        self.seen = 0

    def page(self, now: datetime, limit: int) -> OutboxPage:
        """What may be sent; due delayed events get half of a full page, so that neither kind starves."""
        due: list[OutboxEvent] = []
        held: list[tuple[datetime, int, str]] = []
        while self.later and self.later[0][0] <= now and len(due) < limit:
            entry = heapq.heappop(self.later)
            if (event := self.waiting.get(entry[2])) is not None:
                held.append(entry)
                due.append(event)
        for entry in held:
            heapq.heappush(self.later, entry)
        share = max(limit - len(due), (limit + 1) // 2)
        first = list(itertools.islice(self.now.values(), share))
        events = (first + due)[:limit] if len(first) + len(due) <= limit else first + due[: limit - len(first)]
        chosen = {event.id for event in events}
        upcoming = [entry for entry in held if entry[2] not in chosen]
        rest = self._next_due(chosen)
        return OutboxPage(tuple(events), upcoming[0][0] if upcoming else rest)

    def _next_due(self, chosen: set[str]) -> datetime | None:
        while self.later and self.later[0][2] not in self.waiting:
            heapq.heappop(self.later)
        if not self.later:
            return None
        if self.later[0][2] not in chosen:
            return self.later[0][0]
        return min((due for due, _, id_ in self.later if id_ in self.waiting and id_ not in chosen), default=None)

    def delete(self, id_: str) -> None:
        """Remove an event."""
        self.now.pop(id_, None)
        self.waiting.pop(id_, None)
