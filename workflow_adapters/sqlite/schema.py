"""The tables of a workflow file, and how a file is recognised.

A version is kept whole, as one encoded blob in the history, which only grows at its end: few pages change with a
commit. The row of a run has the columns that queries and guards need, and what changes without a new version (skipped,
armed, started_by, swept); the view `present` joins the two. Times are microseconds since 1970 in UTC.
"""

import sqlite3
import time
from pathlib import Path

from workflow.errors import Unavailable, WorkflowError

APPLICATION_ID = 0x57464C57
"""Marks a file as ours ("WFLW")."""
VERSION = 1
"""The schema this code reads and writes."""
PARTITIONS = 32
"""Partitions of every topic in a new file; a file keeps the number it was made with."""

PATIENCE = 10.0
"""Seconds that a connection waits for a lock which somebody else holds."""
LARGEST_WAL = 64 * 1024 * 1024
"""Bytes to which the write-ahead log is cut back once nobody needs more of it: a long reader makes it grow."""

DDL = """
create table meta (key text primary key, value integer not null) without rowid;
create table runs (
    seq integer primary key,
    run_id text not null unique,
    workflow_name text not null,
    foreign_id text not null,
    run_state integer not null,
    status integer not null,
    version integer not null,
    visit integer not null,
    created integer not null,
    updated integer not null,
    due integer not null,
    auto_paused integer not null,
    skipped integer not null default 0,
    armed integer not null default 0,
    started_by text not null default '',
    swept integer,
    whole blob -- the present version, where the history has it without the object
);
create unique index runs_live on runs (workflow_name, foreign_id) where run_state in (1, 2, 3);
create index runs_workflow on runs (workflow_name);
create index runs_foreign on runs (workflow_name, foreign_id);
create index runs_state on runs (workflow_name, run_state);
create index runs_owing on runs (workflow_name, status, due) where run_state in (1, 2);
create index runs_deleting on runs (workflow_name, due) where run_state = 7;
create index runs_auto_paused on runs (workflow_name, updated) where run_state = 3 and auto_paused = 1;
create index runs_created on runs (workflow_name, created);
create table history (
    id integer primary key,
    run integer not null,
    version integer not null,
    status integer not null,
    attempt_id text not null,
    data blob not null
);
create index history_run on history (run, version, status);
create view present as
    select runs.*, coalesce(runs.whole, history.data) as data
    from runs cross join history on history.run = runs.seq and history.version = runs.version;
create table outbox (
    id integer primary key autoincrement,
    workflow_name text not null,
    due integer,
    data blob not null
);
create index outbox_now on outbox (workflow_name, id) where due is null;
create index outbox_later on outbox (workflow_name, due, id) where due is not null;
create table dead_letters (
    id integer primary key autoincrement,
    workflow_name text not null,
    run_id text not null,
    data blob not null
);
create index dead_letters_run on dead_letters (run_id);
create table events (
    position integer primary key autoincrement,
    topic text not null,
    partition integer not null,
    created integer not null,
    data blob not null
);
create index events_topic on events (topic, partition, position);
create table cursors (
    topic text not null,
    name text not null,
    partition integer not null,
    position integer not null,
    primary key (topic, name, partition)
) without rowid;
create table timeouts (
    id text primary key,
    workflow_name text not null,
    status integer not null,
    run_id text not null,
    due integer not null,
    completed integer not null,
    data blob not null
) without rowid;
create index timeouts_due on timeouts (workflow_name, status, due) where completed = 0;
create index timeouts_run on timeouts (workflow_name, run_id);
create table roles (
    role text primary key,
    holder text not null,
    token integer not null,
    expires integer not null,
    lease integer not null
) without rowid;
create table members (
    member text primary key,
    joined integer not null,
    expires integer not null,
    lease integer not null,
    groups text not null
) without rowid;
"""


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

    A file that is in order is only read. One that belongs to somebody else is left as it was.

    Raises:
        UnusableFile: it cannot be opened, is somebody else's, or is newer than this code.
        Unavailable: others keep it locked.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=PATIENCE)
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
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if not _is_ready(connection, path):
                _make(connection, path)
            break
        except sqlite3.OperationalError as error:
            # While one process makes the file, or changes it to WAL, SQLite turns the others away without waiting.
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    connection.execute("pragma synchronous = full")
    connection.execute("pragma cache_size = -65536")
    connection.execute("pragma temp_store = memory")
    connection.execute(f"pragma journal_size_limit = {LARGEST_WAL}")


def _is_ready(connection: sqlite3.Connection, path: Path) -> bool:
    """True if nothing is to be written. Judged by one look at the file, which somebody else may be making."""
    connection.execute("begin")
    try:
        made = _is_made(connection, path)
    finally:
        connection.execute("rollback")
    return made and connection.execute("pragma journal_mode").fetchone()[0] == "wal"


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


def _make(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("pragma journal_mode = wal").fetchone()
    if mode != "wal":
        raise UnusableFile(path, f"it cannot have a write-ahead log (its journal mode stays {mode!r})")
    connection.execute("begin immediate")
    try:
        # Two processes may open a new file at the same moment: the second finds the first's tables.
        if not _is_made(connection, path):
            for statement in DDL.split(";"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute("insert into meta (key, value) values ('partitions', ?)", (PARTITIONS,))
            connection.execute(f"pragma application_id = {APPLICATION_ID}")
            connection.execute(f"pragma user_version = {VERSION}")
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _is_busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
