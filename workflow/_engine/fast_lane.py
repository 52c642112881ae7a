"""The fast lane: hands a version that this process has just committed to the consumer here that would get its event.

It runs ahead of the durable event, never instead of it: losing the lane costs time, never a run.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol

from .._model.change import NewVersion
from .._model.record import Record


class LaneConsumer(Protocol):
    """A consumer that holds its role in this process."""

    @abstractmethod
    def owns(self, run_id: str) -> bool:
        """True if the run's partition belongs to this consumer's shard."""

    @abstractmethod
    def offer(self, record: Record) -> None:
        """Handle this version now if there is room; it may be declined without a word."""


class FastLane:
    """Which consumers of this process read which topic."""

    def __init__(self) -> None:
        self._consumers: dict[str, list[LaneConsumer]] = {}

    def open(self, topic: str, consumer: LaneConsumer) -> Callable[[], None]:
        """Offer the versions of `topic` to `consumer` from now on; call the result to close the lane again."""
        self._consumers.setdefault(topic, []).append(consumer)
        return lambda: self._close(topic, consumer)

    def _close(self, topic: str, consumer: LaneConsumer) -> None:
        consumers = self._consumers.get(topic, [])
        if consumer in consumers:
            consumers.remove(consumer)

    def offer(self, change: NewVersion) -> None:
        """Offer a committed version to the consumers here that would get its event, unless it is due later."""
        if change.due_at is not None:
            return
        for consumer in self._consumers.get(change.event.topic, ()):
            if consumer.owns(change.record.run_id):
                consumer.offer(change.record)
