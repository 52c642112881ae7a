"""One workflow's outbox in memory."""

import heapq
import itertools
from collections import OrderedDict
from datetime import datetime

from workflow.protocols import OutboxEvent, OutboxPage

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
        upcoming = self._first_later()
        for entry in held:
            heapq.heappush(self.later, entry)
        share = max(limit - len(due), (limit + 1) // 2)
        first = list(itertools.islice(self.now.values(), share))
        events = (first + due)[:limit] if len(first) + len(due) <= limit else first + due[: limit - len(first)]
        chosen = {event.id for event in events}
        left = next((due_at for due_at, _, id_ in held if id_ not in chosen), None)
        return OutboxPage(tuple(events), upcoming if left is None else left)

    def _first_later(self) -> datetime | None:
        """The first due time that is still waited for; what was deleted in front of it is forgotten."""
        while self.later and self.later[0][2] not in self.waiting:
            heapq.heappop(self.later)
        return self.later[0][0] if self.later else None

    def delete(self, id_: str) -> None:
        """Remove an event."""
        self.now.pop(id_, None)
        self.waiting.pop(id_, None)
