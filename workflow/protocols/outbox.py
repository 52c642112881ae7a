"""Events that were committed with a version and wait to be sent."""

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from .._model.event import OutboxInfo, OutboxPage


class Outbox(Protocol):
    """The outboxes of all workflows. Proved by `workflow_adapters.conformance.outbox`."""

    @abstractmethod
    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        """At most `limit` of the events due at `now` (no due time, or one not after `now`), and the next due time.

        Events without a due time come in the order they were committed; events whose due time has come are mixed in
        so that neither kind starves the other. A row that does not decode is moved to the dead letters, not returned.
        """

    @abstractmethod
    async def delete_outbox(self, ids: Sequence[str]) -> None:
        """Remove these outbox events; ids that are gone already are no error."""

    @abstractmethod
    async def outbox_info(self, workflow_name: str, *, now: datetime) -> OutboxInfo:
        """How much waits in the outbox."""
