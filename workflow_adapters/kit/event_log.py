"""The storage that a tail and its receivers read: a log in which order of position equals order of visibility.

A reader that goes by position skips nothing only if a number never becomes visible after a higher one. The store sees
to that (its writers take turns).
"""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from workflow.protocols import Event

__all__ = ["EventLog", "LogEnd", "LogRow", "News"]


class LogRow(NamedTuple):
    """One event as it is stored."""

    position: int
    partition: int
    topic: str
    data: bytes


class LogEnd(NamedTuple):
    """Where the log ends.

    Attributes:
        position: of the last event; 0 if there was none.
        data: its bytes; None if it was removed because it was old.
    """

    position: int
    data: bytes | None


class News(NamedTuple):
    """What lies behind a position.

    Attributes:
        rows: in order of position; a page of them.
        end: the position up to which the rows are complete, and the bytes of the event there.
        more: True if there are more rows than the page holds.
        is_other: True if the log was emptied or restored since that position was read: it ends before it, or holds
            another event there. An event that was removed because it was old is no sign of that.
    """

    rows: Sequence[LogRow]
    end: LogEnd
    more: bool
    is_other: bool = False


class EventLog(Protocol):
    """The reads of a log that all partitions of all topics share."""

    @abstractmethod
    async def end(self) -> LogEnd:
        """Where it ends now."""

    @abstractmethod
    async def news(self, after: LogEnd, topics: Collection[str]) -> News:
        """One page of the events of these topics behind an end that was read; it may hold those of other topics."""

    @abstractmethod
    async def beyond(self, topic: str, positions: Mapping[int, int], limit: int) -> Sequence[LogRow]:
        """Events of a topic behind a position in each partition, at most `limit` of each, in order of position."""

    @abstractmethod
    def decode(self, row: LogRow) -> Event | None:
        """The event of a row, told where the stream put it; None, logged, for one that does not decode."""
