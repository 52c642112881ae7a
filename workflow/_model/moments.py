"""Moments that every store, zone and sum can hold.

People say "never" as `timedelta.max` or `datetime.max`. The first does not fit behind the present moment, the second
not into every zone, and Postgres keeps it as infinity. So every moment that is computed or given ends at `NEVER`.
"""

from datetime import UTC, datetime, timedelta

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""A moment that does not come; every zone can still write it."""
LONG_AGO = datetime(1, 1, 2, tzinfo=UTC)
"""Before everything; every zone can still write it."""


def later(moment: datetime, by: timedelta) -> datetime:
    """The moment so much later, `NEVER` at the latest."""
    try:
        return min(moment + by, NEVER)
    except OverflowError:
        return NEVER


def earlier(moment: datetime, by: timedelta) -> datetime:
    """The moment so much earlier, `LONG_AGO` at the earliest."""
    try:
        return max(moment - by, LONG_AGO)
    except OverflowError:
        return LONG_AGO


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC, from `LONG_AGO` to `NEVER`; it must have a time zone."""
    # Aware moments of all zones can be compared; only writing them in another zone may overflow.
    return max(LONG_AGO, min(NEVER, moment)).astimezone(UTC)
