"""How a process of this engine reads a topic."""

from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from .._engine.engine import Engine
from .._model.event import Event
from .._model.shard import Shard
from ..protocols import EventReceiver


class Reader(Protocol):
    """Opens a consumer's receiver and judges how old events are."""

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[EventReceiver]:
        """Open the receiver."""

    @abstractmethod
    def partitions(self) -> int:
        """How many partitions the topic has, while the receiver is open."""

    @abstractmethod
    def age(self, event: Event) -> float:
        """Seconds since the event's version was made."""


class StreamReader(Reader):
    """One consumer's reading of one topic.

    Attributes:
        topic: the topic that is read.
        name: the consumer, without its shard: cursors belong to partitions, and those change hands.
    """

    def __init__(self, engine: Engine, topic: str, name: str, shard: Shard) -> None:
        self._engine, self.topic, self.name, self._shard = engine, topic, name, shard

    def open(self) -> AbstractAsyncContextManager[EventReceiver]:
        """Open the receiver."""
        return self._engine.stream.receiver(self.topic, self.name, shard=self._shard)

    def partitions(self) -> int:
        """How many partitions the topic has."""
        return self._engine.stream.partitions(self.topic)

    def age(self, event: Event) -> float:
        """Seconds since the event's version was made."""
        return max(0.0, (self._engine.now() - event.created_at).total_seconds())
