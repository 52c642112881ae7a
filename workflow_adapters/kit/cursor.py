"""Opaque cursors of pages: the place of the last row of a page, as text.

A cursor names the listing it belongs to, so that a cursor of another listing, or of another store, is told apart.
"""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["decode_cursor", "encode_cursor"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT8 = range(-(2**63), 2**63)


def encode_cursor(listing: str, *place: int | str | datetime) -> str:
    """A cursor of this listing that stands after this place.

    Args:
        listing: names the store and the listing, for example "memory:runs".
        place: the values that the listing is ordered by. Moments keep their microseconds.
    """
    plain = [(value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value for value in place]
    return base64.urlsafe_b64encode(json.dumps([listing, *plain], separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(listing: str, cursor: str, types: Sequence[type]) -> list[Any]:
    """The place of a cursor of this listing; its values have these types (int, str or datetime).

    Raises:
        ValueError: it is no cursor of this listing; the message shows it.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found, *plain = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        place = [_value(value, type_) for value, type_ in zip(plain, types, strict=True)]
    except (ValueError, TypeError, OverflowError, RecursionError):
        found, place = None, []
    if found != listing:
        raise ValueError(f"cursor: {cursor[:80]!r} is no cursor of this listing")
    return place


def _value(plain: object, type_: type) -> object:
    if type_ is datetime and type(plain) is int:
        return _EPOCH + plain * _MICROSECOND
    if type(plain) is not type_ or (type(plain) is int and plain not in _INT8):
        raise TypeError(plain)
    return plain
