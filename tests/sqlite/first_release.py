"""The first release as its files know it: its tables, its blobs and its statements, word for word.

Copies on purpose: what a file holds does not change when the code does.
"""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MICROS = 1_767_225_600_000_000
"""`NOW` in microseconds since 1970."""

TABLES = """
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

CREATE = """
insert into runs (run_id, workflow_name, foreign_id, run_state, status, version, visit, created, updated, due,
    auto_paused, whole)
values (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?) on conflict do nothing
"""
MOVE = """
update runs set status = :status, version = :expected + 1, armed = armed and visit = :visit, visit = :visit,
    updated = :updated, due = :due, whole = :whole, skipped = 0, started_by = '', swept = null, run_state = :state,
    auto_paused = :auto_paused
where run_id = :run_id and version = :expected
"""
HISTORY = """
insert into history (run, version, status, attempt_id, data)
select seq, :version, :status, :attempt_id, :data from runs where run_id = :run_id
"""
OUTBOX = "insert into outbox (workflow_name, due, data) values (?, ?, ?)"
MARK = """
update runs set skipped = coalesce(?, skipped), armed = coalesce(?, armed), started_by = coalesce(?, started_by)
where run_id = ? and version = ?
"""
PRESENT = "select data, skipped, armed, started_by, swept from present where run_id = ?"


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    run_state_reason: str = ""
    status_description: str = ""
    trace_origin: str = ""
    trace_context: dict[str, str] = {}


class Record(msgspec.Struct, frozen=True, kw_only=True):
    workflow_name: str
    foreign_id: str
    run_id: str
    run_state: int
    status: int
    object: bytes
    version: int
    created_at: datetime
    updated_at: datetime
    due_at: datetime
    visit: int
    entered_at: datetime
    step_version: int
    attempt: int = 1
    last_error: str = ""
    attempt_id: str = ""
    auto_paused: bool = False
    skipped: bool = False
    armed: bool = False
    started_by: str = ""
    swept_at: datetime | None = None
    meta: Meta = Meta()


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Record).decode


def record(run_id: str, version: int = 1, **fields: Any) -> Record:
    """A version of a run, as the first release wrote it."""
    values: dict[str, Any] = {
        "workflow_name": "orders",
        "foreign_id": f"key of {run_id}",
        "run_id": run_id,
        "run_state": 2,
        "status": 1,
        "object": b"{}",
        "version": version,
        "created_at": NOW,
        "updated_at": NOW,
        "due_at": NOW,
        "visit": 1,
        "entered_at": NOW,
        "step_version": 1,
        "attempt_id": f"first release {run_id} {version}",
    }
    return Record(**values | fields)


def open_as_it_did(path: Path) -> sqlite3.Connection:
    """Open a file by the rules of the first release, which refuses a higher `user_version`."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    assert connection.execute("pragma application_id").fetchone() == (0x57464C57,)
    assert connection.execute("pragma user_version").fetchone()[0] <= 1
    return connection


def make(path: Path) -> sqlite3.Connection:
    """Make a file."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute("pragma journal_mode = wal")
    connection.executescript(TABLES)
    connection.execute("insert into meta (key, value) values ('partitions', 32)")
    connection.execute("pragma application_id = 0x57464c57")
    connection.execute("pragma user_version = 1")
    return connection


def create(connection: sqlite3.Connection, new: Record) -> None:
    """Write version 1 of a run."""
    times = (MICROS, MICROS, MICROS)
    names = (new.run_id, new.workflow_name, new.foreign_id, new.run_state, new.status, new.visit)
    assert connection.execute(CREATE, (*names, *times, new.auto_paused, None)).rowcount == 1
    _log(connection, new)


def move(connection: sqlite3.Connection, new: Record) -> None:
    """Write a later version of a run."""
    row = {
        "status": new.status,
        "expected": new.version - 1,
        "visit": new.visit,
        "updated": MICROS,
        "due": MICROS,
        "whole": None,
        "state": new.run_state,
        "auto_paused": new.auto_paused,
        "run_id": new.run_id,
    }
    assert connection.execute(MOVE, row).rowcount == 1
    _log(connection, new)


def _log(connection: sqlite3.Connection, new: Record) -> None:
    row = {"version": new.version, "status": new.status, "attempt_id": new.attempt_id, "run_id": new.run_id}
    connection.execute(HISTORY, row | {"data": encode(new)})
    connection.execute(OUTBOX, (new.workflow_name, None, b"\x80"))
