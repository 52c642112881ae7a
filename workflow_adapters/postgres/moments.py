"""Moments as the driver gives them.

It writes the last moment of a datetime as infinity, and reads infinity as that moment without a time zone, which cannot
be compared with any other.
"""

from datetime import UTC, datetime

__all__ = ["aware"]


def aware(moment: datetime) -> datetime:
    """A moment that was read, with its time zone."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
