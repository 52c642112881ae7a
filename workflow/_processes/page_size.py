"""How many records a process asks for at once: it holds all of them in memory while it works on the page."""

from collections.abc import Sequence

from .._model.record import Record

FIRST = 20
"""Records of a page while nothing is known of their sizes."""

PAGE_BYTES = 32 * 2**20
"""Bytes of objects that a page should have."""


class PageSize:
    """The size of the next page, by what the last one brought.

    Attributes:
        limit: records to ask for.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = min(FIRST, most)

    def saw(self, page: Sequence[Record]) -> None:
        """A page has come."""
        if page:
            size = sum(len(record.object) for record in page)
            fitting = len(page) * PAGE_BYTES // max(size, 1)
            self.limit = max(1, min(self._most, fitting, self.limit * 4))
