"""The stream: carries events between processes."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from .._model.event import Backlog, Event
from .._model.shard import Shard


class EventReceiver(Protocol):
    """One consumer's reading of one topic, for the partitions of its shard."""

    @abstractmethod
    async def receive(self, limit: int) -> Sequence[Event]:
        """At least one event and at most `limit`, in order within each partition; waits until there is one.

        An event is received once per opening, acknowledged or not. Safe to cancel: nothing is lost. Received is not
        acknowledged: an event that is not acknowledged comes again after the receiver is opened anew.
        """

    @abstractmethod
    async def ack(self, events: Sequence[Event]) -> None:
        """Each of these events, and all before it in its partition, is done.

        Moves the cursor of (topic, name, partition), only forward. May be written lazily and together with others,
        within a second; closing the receiver writes it.
        """


class EventStreamer(Protocol):
    """Carries events between processes. Proved by `workflow_adapters.conformance.events` and `.cursors`.

    At least once, roughly in order, possibly lossy: safety does not depend on it.
    """

    @abstractmethod
    async def send(self, events: Sequence[Event]) -> None:
        """Publish events, of any topics, each to the partition of its run ID; all are durable on return.

        Events of one partition keep their order. Their `partition` and `position` are assigned here.

        Raises:
            EventsRefused: some will never be taken; the others are durable.
        """

    @abstractmethod
    def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AbstractAsyncContextManager[EventReceiver]:
        """Open a reading of `topic` under a consumer `name`, for the partitions that `shard` owns.

        Reading starts after the stored cursor of (topic, name, partition). Without a stored cursor it starts at the
        earliest event, or with `from_latest` after the last event sent before the context was entered. A cursor
        beyond the end of its partition restarts at the earliest event. An empty name is a passing reader: it is
        always from the latest, it stores no cursor, and several may be open at once without sharing events.
        """

    @abstractmethod
    def partitions(self, topic: str) -> int:
        """How many partitions the topic has; a parallel count above it cannot be served.

        Until the streamer is open this is the number that a new topic would get. It is exact while a receiver of the
        topic is open.
        """

    @abstractmethod
    async def backlog(self, consumers: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Backlog]:
        """For each pair of topic and consumer name, its unacknowledged events. One call for all of them."""
