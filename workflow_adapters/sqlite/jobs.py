"""One piece of work on a connection, and the transaction that several of them share.

Owns what an error of SQLite means: whether the data is at fault, the file cannot be used now, or nobody knows.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from workflow.errors import OutcomeUnknown, Unavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

_ENVIRONMENT = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)
"""Primary result codes that say something about the file or the machine, nothing about what was to be written."""


class Job:
    """Work, who waits for it, and what became of it."""

    __slots__ = ("alone", "bare", "error", "future", "lazy", "result", "wakes", "work")

    def __init__(
        self,
        work: Work[Any],
        future: "asyncio.Future[Any]",
        *,
        wakes: Sequence[tuple[str, str]] = (),
        alone: bool = False,
        lazy: bool = False,
        bare: bool = False,
    ) -> None:
        self.work, self.future = work, future
        self.wakes, self.alone, self.lazy, self.bare = wakes, alone or bare, lazy, bare
        self.result: Any = None
        self.error: BaseException | None = None


def perform(job: Job, connection: sqlite3.Connection) -> None:
    """Do the work and keep what it returned or raised."""
    try:
        job.result = job.work(connection)
    except StopIteration as error:
        # A future takes every exception but this one.
        job.error = RuntimeError(f"raised StopIteration: {error}")
    except BaseException as error:  # noqa: BLE001 - handed to the caller; the thread serves others and goes on
        job.error = meaning(error)


def transact(connection: sqlite3.Connection, jobs: list[Job]) -> None:
    """Do the jobs in one transaction; a job that fails is undone alone. A bare one is done in none."""
    if jobs[0].bare:
        perform(jobs[0], connection)
        return
    try:
        # Without an fsync of its own a commit is still safe from the end of the process (it is in the WAL).
        connection.execute("pragma synchronous = " + ("normal" if all(job.lazy for job in jobs) else "full"))
        connection.execute("begin immediate")
    except sqlite3.Error as error:
        fail(jobs, Unavailable(f"SQLite: {error}"))
        return
    try:
        for job in jobs:
            connection.execute("savepoint job")
            perform(job, connection)
            if job.error is not None:
                connection.execute("rollback to job")
            connection.execute("release job")
    except sqlite3.Error as error:
        # A full disk or the like has ended the whole transaction.
        _roll_back(connection)
        fail(jobs, Unavailable(f"SQLite: {error}"))
        return
    try:
        connection.execute("commit")
    except sqlite3.Error as error:
        _roll_back(connection)
        busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
        # What failed may have been the last of it, the fsync.
        fail(jobs, Unavailable(f"SQLite: {error}") if busy else OutcomeUnknown(f"SQLite: {error}"))


def meaning(error: BaseException) -> BaseException:
    """The error for the caller: `Unavailable` if the file or the machine is at fault, else the error itself."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _ENVIRONMENT:
            return Unavailable(f"SQLite: {error}")
    return error


def _roll_back(connection: sqlite3.Connection) -> None:
    try:
        if connection.in_transaction:
            connection.execute("rollback")
    except sqlite3.Error:
        # The next `begin` will say what is wrong.
        return


def fail(jobs: list[Job], error: Exception) -> None:
    """This became of all of them that have not failed already."""
    for job in jobs:
        if job.error is None:
            job.error = error
