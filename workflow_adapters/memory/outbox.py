"""Outboxes in memory: events to send at once in order of commit, the others by due time."""

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime

from workflow.protocols import Event, Outbox, OutboxEvent, OutboxInfo, OutboxPage

from ..kit.outbox_page import fair_page, most_immediate


class _OneOutbox:
    """The outbox of one workflow."""

    def __init__(self) -> None:
        self.immediate: OrderedDict[str, OutboxEvent] = OrderedDict()
        self.delayed: dict[str, OutboxEvent] = {}
        self._by_due: list[tuple[datetime, int, str]] = []

    def add(self, number: int, entry: OutboxEvent) -> None:
        """Add an event."""
        if entry.due_at is None:
            self.immediate[entry.id] = entry
        else:
            self.delayed[entry.id] = entry
            heapq.heappush(self._by_due, (entry.due_at, number, entry.id))

    def page(self, now: datetime, limit: int) -> OutboxPage:
        """The events that may be sent, by the fair formula."""
        due: list[OutboxEvent] = []
        popped: list[tuple[datetime, int, str]] = []
        while self._by_due and self._by_due[0][0] <= now and len(due) < limit:
            entry = heapq.heappop(self._by_due)
            if (event := self.delayed.get(entry[2])) is not None:
                popped.append(entry)
                due.append(event)
        upcoming = self._first_delayed()
        for entry in popped:
            heapq.heappush(self._by_due, entry)
        immediate = list(itertools.islice(self.immediate.values(), most_immediate(limit, len(due))))
        events = fair_page(immediate, due, limit)
        chosen = {event.id for event in events}
        left = next((due_at for due_at, _, id_ in popped if id_ not in chosen), None)
        return OutboxPage(tuple(events), upcoming if left is None else left)

    def _first_delayed(self) -> datetime | None:
        """The first due time that is still waited for; deleted events in front of it are forgotten."""
        while self._by_due and self._by_due[0][2] not in self.delayed:
            heapq.heappop(self._by_due)
        return self._by_due[0][0] if self._by_due else None

    def delete(self, id_: str) -> None:
        """Remove an event."""
        self.immediate.pop(id_, None)
        self.delayed.pop(id_, None)

    def info(self, now: datetime) -> OutboxInfo:
        """How much waits."""
        due = [event for event in self.delayed.values() if event.due_at is not None and event.due_at <= now]
        first = next(iter(self.immediate.values()), None)
        moments = [event.event.created_at for event in due] + ([first.event.created_at] if first else [])
        return OutboxInfo(
            ready=len(self.immediate) + len(due),
            delayed=len(self.delayed) - len(due),
            oldest=min(moments, default=None),
        )


class MemoryOutbox(Outbox):
    """The outboxes of all workflows."""

    def __init__(self) -> None:
        self._outboxes: dict[str, _OneOutbox] = {}
        self._outbox_of: dict[str, _OneOutbox] = {}
        self._outbox_numbers = itertools.count(1)

    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        """The events that may be sent."""
        outbox = self._outboxes.get(workflow_name)
        return OutboxPage() if outbox is None else outbox.page(now, limit)

    async def delete_outbox(self, ids: Sequence[str]) -> None:
        """Remove events."""
        for id_ in ids:
            outbox = self._outbox_of.pop(id_, None)
            if outbox is not None:
                outbox.delete(id_)

    async def outbox_info(self, workflow_name: str, *, now: datetime) -> OutboxInfo:
        """How much waits."""
        outbox = self._outboxes.get(workflow_name)
        return OutboxInfo() if outbox is None else outbox.info(now)

    def append_event(self, event: Event, due_at: datetime | None) -> None:
        """Add an event of a committed version."""
        outbox = self._outboxes.get(event.workflow_name)
        if outbox is None:
            outbox = self._outboxes[event.workflow_name] = _OneOutbox()
        number = next(self._outbox_numbers)
        entry = OutboxEvent(id=str(number), event=event, due_at=due_at)
        self._outbox_of[entry.id] = outbox
        outbox.add(number, entry)
