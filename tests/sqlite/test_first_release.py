"""A file of the first release: it opens, keeps its runs, and both releases can work on it."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from msgspec.structs import replace

from tests.sqlite import first_release as first
from workflow.protocols import (
    APPLIED,
    NO_MARKS,
    Event,
    Marks,
    Meta,
    NewVersion,
    Note,
    Record,
    RecordFilter,
    RecordQuery,
    RecordStore,
    RunState,
    StatusCount,
    VersionCause,
)
from workflow_adapters.sqlite import SQLiteBackend


def following(record: Record, **fields: object) -> NewVersion:
    """The version after this one."""
    version = record.version + 1
    new = replace(record, version=version, attempt_id=f"second release {version}", marks=NO_MARKS, **fields)
    event = Event(
        topic="orders-1",
        workflow_name=new.workflow_name,
        run_id=new.run_id,
        foreign_id=new.foreign_id,
        status=new.status,
        run_state=new.run_state,
        version=version,
        created_at=new.updated_at,
    )
    return NewVersion(record=new, event=event, previous=record.run_state)


async def one(store: RecordStore, run_id: str) -> Record:
    return (await store.lookup([run_id]))[run_id]


def made(path: Path) -> None:
    """A file with three runs, one of them moved and marked."""
    with closing(first.make(path)) as connection:
        for run_id in "abc":
            first.create(connection, first.record(run_id))
        meta = first.Meta(run_state_reason="a reason", trace_context={"traceparent": "00"})
        first.move(connection, first.record("b", 2, status=2, attempt=3, last_error="boom", meta=meta))
        assert connection.execute(first.MARK, (1, 1, "a process", "b", 2)).rowcount == 1


async def test_a_file_of_the_first_release_opens_and_keeps_its_runs(tmp_path: Path) -> None:
    made(tmp_path / "runs.db")
    async with SQLiteBackend(tmp_path / "runs.db") as backend:
        store = backend.record_store
        assert [r.run_id for r in await store.list(RecordQuery(workflow_name="orders"))] == ["a", "b", "c"]
        b = await one(store, "b")
        assert (b.version, b.status, b.run_state, b.attempt, b.last_error) == (2, 2, RunState.RUNNING, 3, "boom")
        assert b.marks == Marks(skipped=True, timers_armed=True, claimed_by="a process")
        assert b.meta == Meta(run_state_reason="a reason", trace_context={"traceparent": "00"})
        assert b.meta.cause is VersionCause.UNKNOWN
        assert [version.version for version in await store.history("b")] == [1, 2]
        assert set(await store.counts("orders")) == {1, 2}
        assert await store.latest("orders", "key of c") == await one(store, "c")


async def test_opening_it_twice_adds_once_and_the_first_release_can_open_it_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    made(path)
    for _ in range(2):
        async with SQLiteBackend(path) as one_backend, SQLiteBackend(path) as other:
            assert await other.record_store.count(RecordFilter()) == await one_backend.record_store.count(
                RecordFilter()
            )
    with closing(first.open_as_it_did(path)) as connection:
        assert connection.execute("select count(*) from runs").fetchone() == (3,)


async def test_both_releases_write_the_same_runs_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    made(path)
    # The old process has the file open from before: what is added must not break its statements.
    with closing(first.open_as_it_did(path)) as old:
        old.execute(first.PRESENT, ("a",)).fetchone()
        async with SQLiteBackend(path) as backend:
            store = backend.record_store
            meta = Meta(cause=VersionCause.STEP, actor="a person", reason="why")
            fields = {"status": 2, "attempt": 2, "meta": meta, "updated_at": first.NOW + timedelta(seconds=1)}
            change = following(await one(store, "a"), **fields)
            assert list(await store.store([change])) == [APPLIED]
            note = Note(run_id="a", version=2, timers_armed=True, claimed_by="new process", reemitted_at=first.NOW)
            assert list(await store.store([note])) == [APPLIED]

            data, skipped, armed, started_by, swept = old.execute(first.PRESENT, ("a",)).fetchone()
            read = first.decode(data)
            assert (read.version, read.status, read.attempt, read.meta) == (2, 2, 2, first.Meta())
            assert (read.skipped, read.armed, read.started_by, read.swept_at) == (False, False, "", None)
            assert (skipped, armed, started_by, swept) == (0, 1, "new process", first.MICROS)

            first.move(old, replace(read, version=3, status=3, attempt=1, attempt_id="old again"))
            first.create(old, first.record("d"))
            a = await one(store, "a")
            assert (a.version, a.status, a.attempt_id, a.meta) == (3, 3, "old again", Meta())
            assert a.marks == Marks(timers_armed=True), "armed stays within a visit, by the statement of either release"
            assert list(await store.store([following(a, status=4), following(await one(store, "d"))])) == [APPLIED] * 2
            assert [version.status for version in await store.history("a")] == [1, 2, 3, 4]
            assert (await store.history("a"))[1].meta == meta


async def test_a_run_that_the_first_release_moved_on_is_not_taken_for_failing(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    made(path)
    async with SQLiteBackend(path) as backend:
        store = backend.record_store
        change = following(await one(store, "a"), attempt=2)
        await store.store([change])
        failing = RecordQuery(workflow_name="orders", failing=True)
        assert [found.run_id for found in await store.list(failing)] == ["a"]
        assert (await store.counts("orders"))[1] == StatusCount(live=2, failing=1)
        with closing(first.open_as_it_did(path)) as old:
            read = first.decode(old.execute(first.PRESENT, ("a",)).fetchone()[0])
            first.move(old, replace(read, version=3, attempt=1, attempt_id="old again"))
        assert not await store.list(failing)
        assert (await store.counts("orders"))[1] == StatusCount(live=2)


def test_the_literal_tables_are_those_of_the_first_release(tmp_path: Path) -> None:
    with closing(first.make(tmp_path / "runs.db")) as connection:
        tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
    assert {"meta", "runs", "history", "outbox", "dead_letters", "events", "cursors", "timeouts"} <= tables
    assert not {"held_callbacks", "catalog", "memos"} & tables
    assert sqlite3.sqlite_version_info >= (3, 35)
