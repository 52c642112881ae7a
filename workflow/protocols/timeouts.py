"""Where timers wait."""

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from .._model.page import Page
from .._model.timer import TimeoutPage, TimeoutQuery, TimeoutRecord


class TimeoutStore(Protocol):
    """Where timers wait. Proved by `workflow_adapters.conformance.timeouts`. It may also be `WakeUps`."""

    @abstractmethod
    async def create(self, timeouts: Sequence[TimeoutRecord]) -> None:
        """Keep these timers; one whose id exists already (completed or not) is left as it is."""

    @abstractmethod
    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        """Timers of these statuses with `due_at` not after `now`, not completed, ordered by due time.

        Those returned are postponed to `until` and their `claims` are counted, so that another process does not get
        them meanwhile. `next_due` is the earliest due time of the others, None when there is none.
        """

    @abstractmethod
    async def postpone(self, timeouts: Sequence[TimeoutRecord]) -> None:
        """Write `due_at`, `attempt` and `last_error` of these timers; ids that are gone are no error."""

    @abstractmethod
    async def complete(self, ids: Sequence[str]) -> None:
        """Mark these timers completed: they stay, so that they are not created again, but are never due.

        Raises:
            TimeoutNotFound: there is none of this id; the others are completed.
        """

    @abstractmethod
    async def cancel(self, ids: Sequence[str]) -> None:
        """Remove these timers; ids that are gone are no error."""

    @abstractmethod
    async def list(self, query: TimeoutQuery) -> Page[TimeoutRecord]:
        """One page of the timers that match, by `due_at` and id. Served by indexes.

        Raises:
            ValueError: the cursor is none of this store's.
        """
