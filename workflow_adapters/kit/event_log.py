"""The storage that a tail and its receivers read: a log in which order of position equals order of visibility.

A reader that goes by position skips nothing only if a number never becomes visible after a higher one. The store sees
to that (its writers take turns).
"""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from workflow.protocols import Event

__all__ = ["EventLog", "LogRow", "News"]


class LogRow(NamedTuple):
    """One event as it is stored."""

    position: int
    partition: int
    topic: str
    data: bytes


class News(NamedTuple):
    """What lies behind a position.

    Attributes:
        rows: in order of position; a page of them.
        end: the position up to which the rows are complete.
        more: True if there are more rows than the page holds.
    """

    rows: Sequence[LogRow]
    end: int
    more: bool


class EventLog(Protocol):
    """The reads of a log that all partitions of all topics share."""

    @abstractmethod
    async def end(self) -> int:
        """The position of the last event; 0 if there was none."""

    @abstractmethod
    async def news(self, after: int, topics: Collection[str]) -> News:
        """One page of the events of these topics behind a position; it may hold those of other topics, too."""

    @abstractmethod
    async def beyond(self, topic: str, positions: Mapping[int, int], limit: int) -> Sequence[LogRow]:
        """Events of a topic behind a position in each partition, at most `limit` of each, in order of position."""

    @abstractmethod
    def decode(self, row: LogRow) -> Event | None:
        """The event of a row, told where the stream put it; None, logged, for one that does not decode."""
