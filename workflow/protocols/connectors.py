"""Foreign streams that connectors consume."""

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from .._model.event import ConnectorEvent
from .._model.shard import Shard


class ConnectorReceiver(Protocol):
    """One reading of a foreign stream."""

    @abstractmethod
    async def receive(self, limit: int) -> Sequence[ConnectorEvent]:
        """At least one event and at most `limit`; waits until there is one. Safe to cancel."""

    @abstractmethod
    async def ack(self, events: Sequence[ConnectorEvent]) -> None:
        """Each of these events, and all before it in its partition, is done."""


class ConnectorSource(Protocol):
    """A foreign stream that a connector consumes. Proved by `workflow_adapters.conformance.connectors`."""

    @abstractmethod
    def receiver(self, name: str, *, shard: Shard) -> AbstractAsyncContextManager[ConnectorReceiver]:
        """Open a reading under a durable consumer `name`, for the partitions that `shard` owns.

        A source without partitions of its own uses `partition_of(event.id, count)` with a count of its choice.
        """
