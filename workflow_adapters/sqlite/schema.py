"""Opening a workflow file: how one is recognised, made, and brought up to this release."""

import sqlite3
import time
from pathlib import Path

from workflow.errors import Unavailable, WorkflowError

from .on_commit import GuardedConnection
from .tables import ADDITIONS, FIRST

APPLICATION_ID = 0x57464C57
"""Marks a file as ours ("WFLW")."""
VERSION = 1
"""The tables this code works on, together with `ADDITIONS`."""
PARTITIONS = 32
"""Partitions of every topic in a new file; a file keeps the number it was made with."""

LOCK_WAIT = 10.0
"""Seconds that a connection waits for a lock that another one holds."""
LARGEST_WAL = 64 * 1024 * 1024
"""Bytes to which the write-ahead log is cut back once no reader needs more of it: a long reader makes it grow."""


class UnusableFile(WorkflowError):
    """The file is not a workflow file, or belongs to a newer release.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"SQLite file {str(path)!r} cannot be used: {why}")
        self.path = path


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to the file, made and checked if needed; it may be used by one other thread.

    A file that is in order is only read. One that belongs to another application is left as it was.

    Raises:
        UnusableFile: it cannot be opened, is another application's, or is newer than this code.
        Unavailable: others keep it locked.
    """
    try:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=LOCK_WAIT, factory=GuardedConnection
        )
    except (sqlite3.Error, ValueError) as error:
        raise UnusableFile(path, str(error)) from error
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        if _is_busy(error):
            raise Unavailable(f"SQLite file {str(path)!r} is kept locked by another process: {error}") from error
        raise UnusableFile(path, str(error)) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    deadline = time.monotonic() + LOCK_WAIT
    while True:
        try:
            if not _is_ready(connection, path):
                _bring_up(connection, path)
            break
        except sqlite3.OperationalError as error:
            # While one process makes the file, or changes it to WAL, SQLite turns the others away without waiting.
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    connection.execute("pragma synchronous = full")
    connection.execute("pragma cache_size = -65536")
    connection.execute("pragma temp_store = memory")
    # What is erased is overwritten with zeros, not only taken off the lists of the file.
    connection.execute("pragma secure_delete = on")
    connection.execute(f"pragma journal_size_limit = {LARGEST_WAL}")


def _is_ready(connection: sqlite3.Connection, path: Path) -> bool:
    """True if nothing is to be written. Judged by one look at the file, which another process may be making."""
    connection.execute("begin")
    try:
        ready = _is_made(connection, path) and _additions(connection) >= len(ADDITIONS)
    finally:
        connection.execute("rollback")
    return ready and connection.execute("pragma journal_mode").fetchone()[0] == "wal"


def _is_made(connection: sqlite3.Connection, path: Path) -> bool:
    """True if the file is ours; False if it is still empty."""
    application = connection.execute("pragma application_id").fetchone()[0]
    version = connection.execute("pragma user_version").fetchone()[0]
    tables = connection.execute("select count(*) from sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and tables:
        raise UnusableFile(path, "it holds the tables of another application")
    if application == APPLICATION_ID and version > VERSION:
        raise UnusableFile(path, f"its schema is version {version}, this release knows up to {VERSION}")
    return bool(application == APPLICATION_ID)


def _additions(connection: sqlite3.Connection) -> int:
    """How many additions the file has; a newer release may have made more than this one knows."""
    row = connection.execute("select value from meta where key = 'additions'").fetchone()
    return 0 if row is None else int(row[0])


def _bring_up(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or add what this release needs."""
    (mode,) = connection.execute("pragma journal_mode = wal").fetchone()
    if mode != "wal":
        raise UnusableFile(path, f"it cannot have a write-ahead log (its journal mode stays {mode!r})")
    connection.execute("begin immediate")
    try:
        # Two processes may open a file at the same moment: the second finds what the first has done.
        if not _is_made(connection, path):
            _make(connection)
        had = _additions(connection)
        for addition in ADDITIONS[had:]:
            for statement in addition:
                connection.execute(statement)
        if had < len(ADDITIONS):
            note = (
                "insert into meta (key, value) values ('additions', ?) on conflict do update set value = excluded.value"
            )
            connection.execute(note, (len(ADDITIONS),))
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _make(connection: sqlite3.Connection) -> None:
    for statement in FIRST.split(";"):
        if statement.strip():
            connection.execute(statement)
    connection.execute("insert into meta (key, value) values ('partitions', ?)", (PARTITIONS,))
    connection.execute(f"pragma application_id = {APPLICATION_ID}")
    connection.execute(f"pragma user_version = {VERSION}")


def _is_busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
