"""Calling the user's functions inside the transaction that moves the run."""

import sqlite3
from collections.abc import Coroutine, Sequence

from workflow.protocols import OnCommit


def call(connection: sqlite3.Connection, functions: Sequence[OnCommit]) -> None:
    """Call the functions; the transaction is not theirs to end.

    Raises:
        Exception: whatever a function raised; one that is no Exception is wrapped, because the thread serves others.
    """
    connection.set_authorizer(_no_transactions)
    try:
        for write in functions:
            _call(connection, write)
    finally:
        connection.set_authorizer(None)


def _call(connection: sqlite3.Connection, write: OnCommit) -> None:
    try:
        result = write(connection)
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"on_commit: {write!r} raised {type(error).__name__}, which is no Exception") from error
    if isinstance(result, Coroutine):
        # It would never run, and its rows would be missing without a word.
        result.close()
        raise TypeError(f"on_commit: {write!r} must be a plain function, SQLite calls it in a thread")


def _no_transactions(action: int, *_: object) -> int:
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_OK
