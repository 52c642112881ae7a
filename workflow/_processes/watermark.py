"""How far a consumer has finished the events of one partition.

Events are finished in any order, but a cursor can only say "all up to here". So the mark rises over finished events
from the oldest on, and stops at the first that is not. A handler that takes too long, or holds back too many finished
events behind it, is passed over: its run is left to the sweeper, and to the handler that is still at it.
"""

from collections import deque

from .._model.event import Event

HOLD_LIMIT = 30.0
"""Seconds that a handler may hold the mark back, counted from its start."""
BACKLOG = 10_000
"""Finished events that may wait behind one that is not."""


class Ticket:
    """One received event on its way."""

    __slots__ = ("event", "finished", "mark", "since")

    def __init__(self, event: Event, mark: "Watermark") -> None:
        self.event, self.mark = event, mark
        self.finished = False
        self.since: float | None = None

    def finish(self) -> None:
        """Its version is dealt with."""
        if not self.finished:
            self.finished = True
            self.mark.finished += 1


class Watermark:
    """The open tickets of one partition, oldest first."""

    __slots__ = ("_open", "finished")

    def __init__(self) -> None:
        self._open: deque[Ticket] = deque()
        self.finished = 0

    def begin(self, event: Event) -> Ticket:
        """A received event that is not finished yet."""
        ticket = Ticket(event, self)
        self._open.append(ticket)
        return ticket

    @property
    def is_open(self) -> bool:
        """True while an event is not finished."""
        return bool(self._open)

    def rise(self, now: float) -> Event | None:
        """The last event up to which everything is done, if that is further than at the last call."""
        risen: Event | None = None
        tickets = self._open
        while tickets and (tickets[0].finished or self._may_pass(tickets[0], now)):
            ticket = tickets.popleft()
            if ticket.finished:
                self.finished -= 1
            risen = ticket.event
        return risen

    def _may_pass(self, ticket: Ticket, now: float) -> bool:
        if ticket.since is None:
            return False
        return now - ticket.since > HOLD_LIMIT or self.finished > BACKLOG
