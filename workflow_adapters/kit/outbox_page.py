"""The fair page of an outbox: neither immediate nor delayed events keep the other kind waiting.

Every store lists by this one rule, so that all behave alike:

- If both kinds fit into the page, all of them are on it.
- Otherwise each kind may have half of the page (immediate events the odd place), and a kind gets the places that the
  other does not need.

A store that can ask for both kinds in one statement asks for at most `limit` of each and calls `fair_page`. A store
that asks twice asks for the due delayed ones first, then for `most_immediate(limit, len(delayed))` immediate ones, and
calls `fair_page` with what it got. `next_due` is the due time of the first delayed event that is not on the page.
"""

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["fair_page", "most_immediate"]

T = TypeVar("T")


def most_immediate(limit: int, delayed: int) -> int:
    """How many immediate events the page may hold at most, if so many delayed ones are due (counted up to `limit`)."""
    return max(limit - delayed, (limit + 1) // 2)


def fair_page(immediate: Sequence[T], delayed: Sequence[T], limit: int) -> list[T]:
    """The page: at most `limit` events, immediate ones first, each kind in the order given.

    Args:
        immediate: events without a due time, in the order of their commits.
        delayed: events whose due time has come, the earliest first; at least `limit` of them if there are so many.
        limit: places on the page; at least 1.
    """
    first = immediate[: most_immediate(limit, len(delayed))]
    return [*first, *delayed[: limit - len(first)]]
