# ruff: noqa: PT017 - the kit knows no pytest
"""Reading a listing page by page, and the promises that every page keeps."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

from workflow.protocols import Page

T = TypeVar("T")

Listing: TypeAlias = Callable[[str | None, int], Awaitable[Page[T]]]
"""Reads one page, from a cursor and a limit."""

_MOST_PAGES = 2_000
"""A listing of the kit that has more pages does not end."""


async def read_pages(
    listing: Listing[T], limit: int, *, between: Callable[[int], Awaitable[None]] | None = None
) -> list[T]:
    """Every item of the listing, in pages of `limit`; `between` is called after each page with the page's number."""
    items: list[T] = []
    cursor: str | None = None
    for number in range(_MOST_PAGES):
        page = await listing(cursor, limit)
        assert isinstance(page, Page), f"a listing gives a Page: {page!r}"
        assert len(page) <= limit, f"{len(page)} items on a page of at most {limit}"
        items += page
        if page.next is None:
            return items
        assert isinstance(page.next, str), f"a cursor is text: {page.next!r}"
        assert len(page) == limit, f"page {number} has {len(page)} items of {limit}, and there are more"
        cursor = page.next
        if between is not None:
            await between(number)
    raise AssertionError(f"the listing did not end within {_MOST_PAGES} pages")


async def is_paged(listing: Listing[T], wanted: Sequence[object], of: Callable[[T], object]) -> None:
    """The listing has these items in this order whatever the size of its pages, and its last page has no cursor."""
    count = len(wanted)
    for limit in sorted({1, 2, 7, max(1, count - 1), max(1, count), count + 1}):
        found = [of(item) for item in await read_pages(listing, limit)]
        assert found == list(wanted), f"in pages of {limit}: {found} instead of {list(wanted)}"
    whole = await listing(None, max(1, count))
    assert whole.next is None, f"nothing follows the {count} items, but there is a cursor: {whole.next!r}"


async def refuses_cursors(listing: Listing[T], *foreign: str) -> None:
    """A cursor of no store, or of another listing, is a ValueError that shows it."""
    for cursor in ("", "0", "1", "garbage", "é\n", "0" * 60, "bnVsbA", "WyJhIiwxXQ", *foreign):
        try:
            page = await listing(cursor, 10)
        except ValueError as error:
            assert repr(cursor[:40])[:-1] in str(error), f"the error does not show the cursor {cursor!r}: {error}"
            assert "cursor" in str(error), f"the error does not name its field: {error}"
        else:
            raise AssertionError(f"{cursor!r} was taken for a cursor: {page!r}")
