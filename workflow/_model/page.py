"""One page of a listing, and the cursor that continues it."""

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar, overload

ItemT = TypeVar("ItemT", covariant=True)


class Page(Sequence[ItemT], Generic[ItemT]):
    """One page of a listing: a sequence of its items.

    Attributes:
        next: the cursor of the next page; None when this is the last one. A cursor is opaque text of the store that
            made it. It stays valid while rows come and go: no item is listed twice, and none that was there before
            the listing began is left out, unless it stopped matching.
    """

    __slots__ = ("_items", "next")

    def __init__(self, items: Iterable[ItemT] = (), next: str | None = None) -> None:  # noqa: A002 - the field's word
        self._items = tuple(items)
        self.next = next

    @overload
    def __getitem__(self, index: int, /) -> ItemT: ...
    @overload
    def __getitem__(self, index: slice, /) -> Sequence[ItemT]: ...
    def __getitem__(self, index: int | slice, /) -> ItemT | Sequence[ItemT]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        """Pages are equal to any sequence of the same items: a cursor says nothing about what is on the page."""
        if isinstance(other, Page):
            return self._items == other._items
        if isinstance(other, list | tuple):
            return self._items == tuple(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Page({list(self._items)!r}, next={self.next!r})"
