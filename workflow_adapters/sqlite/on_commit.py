"""Calling the user's functions inside the transaction that moves the run.

Owns the border to them. The connection is the one through which everything is written, so a function may read and
write rows, and use savepoints of its own. It may not end the transaction, close the connection, or leave anything in
the session behind: that is refused by name. What it does to the connection's Python attributes is undone.
"""

import sqlite3
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from workflow.protocols import OnCommit

__all__ = ["GuardedConnection", "TransactionEnded", "call"]

_QUESTIONS = frozenset(
    {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"}
)
"""Pragmas that only ask, although they have an argument."""

_OUR_SAVEPOINTS = frozenset({"job", "change", "together"})

_SESSION = {
    sqlite3.SQLITE_ATTACH: "attach",
    sqlite3.SQLITE_DETACH: "detach",
    sqlite3.SQLITE_CREATE_TEMP_INDEX: "create temp index",
    sqlite3.SQLITE_CREATE_TEMP_TABLE: "create temp table",
    sqlite3.SQLITE_CREATE_TEMP_TRIGGER: "create temp trigger",
    sqlite3.SQLITE_CREATE_TEMP_VIEW: "create temp view",
}
"""What would outlive the transaction, on a connection that other runs use."""


class TransactionEnded(RuntimeError):
    """A function, or a conflict clause of its statement, rolled the whole transaction back."""


class GuardedConnection(sqlite3.Connection):
    """A connection that a user's function cannot take away from the others.

    Attributes:
        lent: True while a function has it.
        has_erased: True if a change of its last transactions erased the data of a run.
    """

    lent = False
    has_erased = False

    def close(self) -> None:
        """Close it, unless a function has it."""
        self._refuse_if_lent("may not be closed")
        super().close()

    def set_authorizer(self, authorizer_callback: Any) -> None:
        """Set it, unless a function has the connection."""
        self._refuse_if_lent("keeps its authorizer")
        super().set_authorizer(authorizer_callback)

    def cursor(self, factory: Any = None) -> Any:
        """A cursor; a function gets one that writes nothing once the transaction has ended."""
        if self.lent:
            return super().cursor(_LentCursor)
        return super().cursor() if factory is None else super().cursor(factory)

    def execute(self, *args: Any) -> sqlite3.Cursor:
        """Run a statement."""
        cursor: sqlite3.Cursor = self.cursor().execute(*args) if self.lent else super().execute(*args)
        return cursor

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        """Run a statement for each row."""
        cursor: sqlite3.Cursor = self.cursor().executemany(*args) if self.lent else super().executemany(*args)
        return cursor

    def executescript(self, *args: Any) -> sqlite3.Cursor:
        """Run several statements."""
        cursor: sqlite3.Cursor = self.cursor().executescript(*args) if self.lent else super().executescript(*args)
        return cursor

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute; those whose assignment commits are not for functions."""
        if name in ("isolation_level", "autocommit"):
            self._refuse_if_lent(f"keeps its {name}")
        super().__setattr__(name, value)

    def _refuse_if_lent(self, what: str) -> None:
        if self.lent:
            raise sqlite3.ProgrammingError(f"on_commit: the connection is the backend's and {what}")


class _LentCursor(sqlite3.Cursor):
    """After `insert or rollback` SQLite would commit each further statement by itself."""

    def execute(self, *args: Any) -> Self:
        self._still_ours()
        super().execute(*args)
        return self

    def executemany(self, *args: Any) -> Self:
        self._still_ours()
        super().executemany(*args)
        return self

    def executescript(self, *args: Any) -> Self:
        self._still_ours()
        super().executescript(*args)
        return self

    def _still_ours(self) -> None:
        if not self.connection.in_transaction:
            raise TransactionEnded("on_commit: an earlier statement rolled the transaction back")


def call(connection: sqlite3.Connection, functions: Sequence[OnCommit]) -> None:
    """Call the functions; the transaction is not theirs to end.

    Raises:
        TransactionEnded: nothing of the transaction is left, nor of what was written before the functions.
        Exception: whatever a function raised; one that is no Exception is wrapped, because the thread serves others.
    """
    for write in functions:
        name = getattr(write, "__qualname__", repr(write))
        denied: list[str] = []
        try:
            with _lent(connection, denied):
                _call(connection, write, name)
        except Exception as error:
            if not connection.in_transaction:
                raise TransactionEnded(f"on_commit: {name} ended the transaction: {error}") from error
            if denied:
                raise RuntimeError(f"on_commit: {name} may not use {denied[-1]!r}: {error}") from error
            raise
        if not connection.in_transaction:
            raise TransactionEnded(f"on_commit: {name} ended the transaction")


@contextmanager
def _lent(connection: sqlite3.Connection, denied: list[str]) -> Iterator[None]:
    """Give the connection to a function, and take it back as it was."""

    def judge(action: int, first: str | None, second: str | None, *_: object) -> int:
        what = _refused(action, first, second)
        if what is None:
            return sqlite3.SQLITE_OK
        denied.append(what)
        return sqlite3.SQLITE_DENY

    factories = connection.row_factory, connection.text_factory
    connection.set_authorizer(judge)
    if isinstance(connection, GuardedConnection):
        connection.lent = True
    try:
        yield
    finally:
        if isinstance(connection, GuardedConnection):
            connection.lent = False
        connection.set_authorizer(None)
        connection.set_progress_handler(None, 0)
        connection.set_trace_callback(None)
        connection.row_factory, connection.text_factory = factories


def _refused(action: int, first: str | None, second: str | None) -> str | None:
    """The name of what a function may not do; None if it may."""
    if action == sqlite3.SQLITE_TRANSACTION:
        return str(first).lower()
    if action == sqlite3.SQLITE_SAVEPOINT and str(second).lower() in _OUR_SAVEPOINTS:
        return f"{str(first).lower()} {second}"
    if action == sqlite3.SQLITE_PRAGMA and second is not None and str(first).lower() not in _QUESTIONS:
        return f"pragma {first} = {second}"
    return _SESSION.get(action)


def _call(connection: sqlite3.Connection, write: OnCommit, name: str) -> None:
    try:
        result = write(connection)
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"on_commit: {name} raised {type(error).__name__}, which is no Exception") from error
    if isinstance(result, Coroutine):
        # It would never run, and its rows would be missing without a word.
        result.close()
        raise TypeError(f"on_commit: {write!r} must be a plain function, SQLite calls it in a thread")
