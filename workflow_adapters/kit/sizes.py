"""How many bytes of objects are moved at once, and how many one object may have."""

__all__ = ["AT_ONCE", "LARGEST_OBJECT", "check_size"]

AT_ONCE = 8 * 2**20
"""Bytes of objects that one read should bring: more keeps others waiting, and may not arrive within its time limit."""

LARGEST_OBJECT = 128 * 2**20
"""Bytes of one object. Databases take up to 1 GB, but not within their time limits, and dumps write it as text twice
as long."""


def check_size(field: str, size: int) -> None:
    """Refuse what a database cannot take, or not in time: it would be sent again for ever.

    Raises:
        ValueError: it has more than `LARGEST_OBJECT` bytes; names the field and the size.
    """
    if size > LARGEST_OBJECT:
        raise ValueError(f"{field} has {size:,} bytes, at most {LARGEST_OBJECT:,} can be stored")
