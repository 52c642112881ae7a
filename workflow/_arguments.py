"""What callers may hand to the public surface: each check names the argument and the value it was given.

A wrong type is a TypeError, a value that cannot be used a ValueError. They are raised before anything is read or
written, so that no store ever sees a value that one of them could not keep.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

LONGEST_NAME = 255
"""Bytes of a workflow's or connector's name: it is part of every topic, role and index."""
LONGEST_ID = 1_000
"""Bytes of a foreign ID or run ID: a Postgres index entry holds no more."""
LARGEST_COUNT = 2**31 - 1

_SHOWN = 80


def text(name: str, value: object, *, most: int | None = LONGEST_ID, empty: bool = False) -> None:
    """Text that every store can keep.

    Args:
        most: bytes in UTF-8 at most; None for no limit.
        empty: whether "" will do.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {_shown(value)}")
    if not value and not empty:
        raise ValueError(f"{name} must not be empty")
    if "\0" in value:
        raise ValueError(f"{name} must not contain NUL, as {_shown(value)} does")
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be valid Unicode, not {_shown(value)}") from None
    if most is not None and length > most:
        raise ValueError(f"{name} must have at most {most:,} bytes, not {length:,} as {_shown(value)}")


def ids(foreign_id: object, run_id: object) -> None:
    """A foreign ID, and a run ID if there is one."""
    text("foreign_id", foreign_id)
    if run_id is not None:
        text("run_id", run_id)


def moment(name: str, value: object) -> None:
    """A datetime with a time zone."""
    if not isinstance(value, datetime):
        raise TypeError(f"{name} must be a datetime, not {_shown(value)}")
    if value.utcoffset() is None:
        raise ValueError(f"{name} must have a time zone, not {_shown(value)}")


def duration(name: str, value: object, *, least: timedelta | None = timedelta(0)) -> None:
    """A timedelta."""
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} must be a timedelta, not {_shown(value)}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least}, not {_shown(value)}")


def whole(name: str, value: object, *, least: int, most: int = LARGEST_COUNT) -> None:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {_shown(value)}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most:,}, not {_shown(value)}")


def several(name: str, values: object, kind: type[Any]) -> None:
    """A collection of instances of one class, not a single one of them."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a sequence, not {_shown(values)}")
    for value in values:
        instance(name, value, kind)


def instance(name: str, value: object, kind: type[Any]) -> None:
    """An instance of a class."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {_shown(value)}")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
