"""The work of a consumer: judging and handling the versions of runs."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from .._model.event import Event
from .._model.record import Record
from .lease_term import LeaseTerm


class Work(Protocol):
    """The work of a consumer."""

    def begin(self, term: LeaseTerm) -> None:
        """A term of the role starts."""
        return

    @abstractmethod
    async def lookup(self, run_ids: Sequence[str]) -> "dict[str, Record]":
        """The present records of these runs."""

    @abstractmethod
    def judge(self, event: Event, record: Record | None) -> str | None:
        """Why this event needs no handling; None if it does. An event ahead of its record is not asked about."""

    @abstractmethod
    async def handle(self, record: Record, attempt: int) -> bool:
        """Deal with this version; `attempt` is which try the event asks for.

        Returns True if the version is dealt with for good, False if another event of it will come. An exception means
        that it could not be dealt with now: it is tried again shortly.
        """
