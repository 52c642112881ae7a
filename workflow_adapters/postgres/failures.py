"""What a failure of the driver means for what was being written.

Owns the one question the engine asks after an error: was nothing written, may something have been written, or is the
data at fault? The errors of the driver are mapped here and nowhere else.
"""

import asyncio

import asyncpg

from workflow.errors import OutcomeUnknown, Unavailable

from ..kit.text import one_line

__all__ = [
    "LOST",
    "described",
    "is_locked",
    "is_lost",
    "is_rolled_back",
    "is_stale",
    "is_transient",
    "outcome_unknown",
    "unavailable",
    "violates",
]

_DRIVERS = (asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The driver refuses a connection; the second one while the server's last words are known but not yet the end."""

LOST = (OSError, asyncio.TimeoutError, EOFError, asyncpg.PostgresError, *_DRIVERS)
"""Everything that the driver raises and that may mean a broken connection; judged by `is_lost`."""

_CLOSING = ("08", "57P01", "57P02", "57P03", "57P05", "25P03")
"""The server ends this connection: it may have committed before it said so."""

_STALE = ("26000", "XX000")
"""What the connection remembers of the server is not true any more: its statements (`deallocate all`), or the numbers
of types (a schema that was dropped and made again, for which the server has no better code)."""

_BUSY_SERVER = ("53", "57014", "25006", "58")
"""The server refuses this statement now, and has rolled it back: resources, statement_timeout, read-only, I/O."""

_CONFLICTING = ("40001", "40P01")
_LOCKED = "55P03"


def _state(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or "" if isinstance(error, asyncpg.PostgresError) else ""


def is_lost(error: BaseException) -> bool:
    """True if the connection is gone or cannot be trusted any more."""
    if isinstance(error, asyncpg.DataError):
        return False
    if isinstance(error, asyncpg.PostgresError):
        return _state(error).startswith(_CLOSING)
    return isinstance(error, (OSError, asyncio.TimeoutError, EOFError, *_DRIVERS))


def is_stale(error: BaseException) -> bool:
    """True if the server refused the statement, and another connection may be better informed."""
    return _state(error) in _STALE or isinstance(error, asyncpg.InvalidCachedStatementError)


def is_transient(error: BaseException) -> bool:
    """True if the server rolled the statement back for a reason that passes, other than a lock."""
    return _state(error).startswith(_BUSY_SERVER)


def is_rolled_back(error: BaseException) -> bool:
    """True for a deadlock or serialization failure: nothing was written, and trying again is right."""
    return _state(error) in _CONFLICTING


def is_locked(error: BaseException) -> bool:
    """True if another transaction held a row for longer than the lock timeout: nothing was written."""
    return _state(error) == _LOCKED


def violates(error: BaseException, index: str) -> bool:
    """True if the server refused a row because this unique index has its key already."""
    return isinstance(error, asyncpg.UniqueViolationError) and getattr(error, "constraint_name", None) == index


def described(error: BaseException) -> str:
    """The error as one line for a log or a message."""
    return one_line(f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": "))


def unavailable(error: BaseException) -> Unavailable:
    """The error for "nothing was written"."""
    return Unavailable(f"Postgres: {described(error)}")


def outcome_unknown(error: BaseException) -> OutcomeUnknown:
    """The error for "it may have been written"."""
    return OutcomeUnknown(f"Postgres: the connection was lost while committing: {described(error)}")
