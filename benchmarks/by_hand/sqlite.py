"""SQLite without an engine: the same statements in batches, on one thread."""

import sqlite3
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.five_steps import STEPS, Counter

ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(Counter)
BLOB = b"x" * 300
"""About what a record takes."""
TABLES = """
pragma journal_mode = wal;
pragma synchronous = full;
create table runs (
    seq integer primary key, run_id text not null unique, workflow_name text, foreign_id text, run_state integer,
    status integer, version integer, visit integer, created integer, updated integer, due integer, auto_paused integer,
    data blob
);
create unique index runs_live on runs (workflow_name, foreign_id) where run_state in (1, 2, 3);
create index runs_owing on runs (workflow_name, status, due) where run_state in (1, 2);
create table history (
    run_id text, version integer, status integer, attempt_id text, data blob, primary key (run_id, version)
) without rowid;
create table outbox (id integer primary key autoincrement, workflow_name text, data blob);
create table events (
    position integer primary key autoincrement, topic text, partition integer, created integer, data blob
);
create index events_topic on events (topic, partition, position);
"""


def steps_per_second(path: Path, runs: int, batch: int) -> float:
    """Versions a second, each with history, outbox row, event, and the outbox row removed. WAL, synchronous=FULL."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(TABLES)
    made = [str(uuid.uuid4()) for _ in range(runs)]
    create = (
        "insert into runs (run_id, workflow_name, foreign_id, run_state, status, version, visit, created, updated, "
        "due, auto_paused, data) values (?, 'w', ?, 2, 1, 1, 1, 1, 1, 1, 0, ?)"
    )
    _commit(connection, [(create, [(run_id, run_id, BLOB) for run_id in made])])
    began = time.perf_counter()
    for step in range(1, STEPS + 1):
        for start in range(0, runs, batch):
            _step(connection, made[start : start + batch], step)
    taken = time.perf_counter() - began
    connection.close()
    return runs * STEPS / taken


def _step(connection: sqlite3.Connection, run_ids: list[str], version: int) -> None:
    for _ in run_ids:
        ENCODER.encode(DECODER.decode(b'{"count":1,"note":"x"}'))
    move = "update runs set status = ?, version = ?, updated = ?, due = ?, data = ? where run_id = ? and version = ?"
    rows = [(version + 1, version + 1, version, version, BLOB, run_id, version) for run_id in run_ids]
    history = "insert into history (run_id, version, status, attempt_id, data) values (?, ?, ?, ?, ?)"
    outbox = "insert into outbox (workflow_name, data) values ('w', ?)"
    _commit(
        connection,
        [
            (move, rows),
            (history, [(run_id, version, version, "a", BLOB) for run_id in run_ids]),
            (outbox, [(BLOB,)] * len(run_ids)),
        ],
    )
    (last,) = connection.execute("select max(id) from outbox").fetchone()
    event = "insert into events (topic, partition, created, data) values ('t', 1, 1, ?)"
    _commit(connection, [(event, [(BLOB,)] * len(run_ids))])
    _commit(connection, [("delete from outbox where id = ?", [(last - n,) for n in range(len(run_ids))])])


def _commit(connection: sqlite3.Connection, statements: Sequence[tuple[str, Sequence[tuple[object, ...]]]]) -> None:
    connection.execute("begin immediate")
    for sql, rows in statements:
        connection.executemany(sql, rows)
    connection.execute("commit")
