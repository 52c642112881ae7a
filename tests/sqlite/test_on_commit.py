"""Business rows in the very transaction that moves the run: what a user's function may do, and what it may not."""

import contextlib
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, Options, Run
from workflow_adapters.sqlite import SQLiteBackend


async def asynchronous(connection: sqlite3.Connection) -> None:
    connection.execute("insert into business values (1)")


def committing(connection: sqlite3.Connection) -> None:
    connection.execute("insert into business values (1)")
    connection.commit()


def scripting(connection: sqlite3.Connection) -> None:
    connection.executescript("insert into business values (1); commit;")


def wrong(connection: sqlite3.Connection) -> None:
    connection.execute("insert into business values (1)")
    connection.execute("insert into nowhere values (1)")


def rolling_back(connection: sqlite3.Connection) -> None:
    connection.execute("insert into business values (1)")
    connection.rollback()


def giving_up(connection: sqlite3.Connection) -> None:
    """The conflict ends the whole transaction, and what follows would be committed alone."""
    for value in (2, 3):
        with contextlib.suppress(sqlite3.IntegrityError):
            connection.execute("insert or rollback into business values (?)", (2,))
        connection.execute("insert or rollback into business values (?)", (value * 10,))


def giving_up_at_last(connection: sqlite3.Connection) -> None:
    connection.execute("insert into business values (1)")
    with contextlib.suppress(sqlite3.IntegrityError):
        connection.execute("insert or rollback into business values (1)")


def closing(connection: sqlite3.Connection) -> None:
    connection.close()


def closing_unnoticed(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):
        connection.close()
    connection.execute("insert into nowhere values (1)")


def read_only(connection: sqlite3.Connection) -> None:
    connection.execute("pragma query_only = on")


def shadowing(connection: sqlite3.Connection) -> None:
    connection.execute("create temp table runs (run_id text)")


def attaching(connection: sqlite3.Connection) -> None:
    connection.execute("attach ':memory:' as other")


def committing_by_an_attribute(connection: sqlite3.Connection) -> None:
    connection.isolation_level = "DEFERRED"


def unguarding(connection: sqlite3.Connection) -> None:
    connection.set_authorizer(None)


def releasing(connection: sqlite3.Connection) -> None:
    connection.execute("release job")


def ending(connection: sqlite3.Connection) -> None:
    raise KeyboardInterrupt


REFUSED: dict[str, tuple[Callable[[sqlite3.Connection], Any], str]] = {
    "an async function": (asynchronous, "must be a plain function"),
    "a commit": (committing, "committing may not use 'commit'"),
    "a script, which commits": (scripting, "may not use 'commit'"),
    "a rollback": (rolling_back, "rolling_back may not use 'rollback'"),
    "an insert or rollback that is caught": (giving_up, "rolled the transaction back"),
    "the same at the end": (giving_up_at_last, "giving_up_at_last ended the transaction"),
    "a close": (closing, "may not be closed"),
    "a close that is caught": (closing_unnoticed, "no such table: nowhere"),
    "a pragma": (read_only, "may not use 'pragma query_only = on'"),
    "a temporary table": (shadowing, "may not use 'create temp table'"),
    "another file": (attaching, "may not use 'attach'"),
    "an isolation level": (committing_by_an_attribute, "keeps its isolation_level"),
    "an authorizer of its own": (unguarding, "keeps its authorizer"),
    "a savepoint of ours": (releasing, "may not use 'release job'"),
    "a BaseException": (ending, "ending raised KeyboardInterrupt"),
    "an error in its SQL": (wrong, "no such table: nowhere"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_may_not_be_done_fails_the_attempt_and_writes_nothing(name: str, tmp_path: Path) -> None:
    write, why = REFUSED[name]
    path = tmp_path / "runs.db"
    builder = Builder("business", Thing, Status)

    @builder.step(Status.A, to=Status.B)
    async def work(run: Run[Thing, Status]) -> Status:
        run.on_commit(write if run.attempt == 1 else lambda c: c.execute("insert into business values (2)"))
        return Status.B

    async with SQLiteBackend(path) as backend:
        await backend._database.write(lambda c: c.execute("create table business (value integer unique)").fetchall())
        wf = builder.build(backend, default_options=Options(err_back_off=timedelta(milliseconds=10)))
        async with wf.running():
            run_id = await wf.trigger("key")
            await wf.wait_for("key", Status.B, run_id=run_id, timeout=PATIENCE)
        history = await wf.history(run_id)
        assert [version.attempt for version in history] == [1, 2, 1]
        assert why in history[1].last_error
        rows = await backend._database.read(lambda c: c.execute("select value from business").fetchall())
        assert rows == [(2,)]


def nesting(connection: sqlite3.Connection) -> None:
    """As the documentation advises."""
    connection.execute("savepoint mine")
    try:
        connection.execute("insert into business values (1)")
        connection.execute("insert into business values (1)")
    except sqlite3.IntegrityError:
        connection.execute("rollback to mine")
    connection.execute("release mine")
    connection.execute("insert into business values (3)")


def catching(connection: sqlite3.Connection) -> None:
    """SQLite undoes the statement alone, so it may be caught."""
    connection.execute("insert into business values (3)")
    with contextlib.suppress(sqlite3.IntegrityError):
        connection.execute("insert into business values (3)")


def with_rows_of_its_own(connection: sqlite3.Connection) -> None:
    connection.row_factory = lambda cursor, row: dict(zip((d[0] for d in cursor.description), row, strict=True))
    connection.text_factory = bytes
    assert connection.execute("select count(*) as n from business").fetchone() == {"n": 0}
    assert connection.execute("pragma table_info(business)").fetchall()
    connection.execute("insert into business values (3)")


@pytest.mark.parametrize("write", [nesting, catching, with_rows_of_its_own])
async def test_what_may_be_done_leaves_nothing_behind(
    write: Callable[[sqlite3.Connection], Any], tmp_path: Path
) -> None:
    builder = Builder("business", Thing, Status)

    @builder.step(Status.A, to=Status.B)
    async def work(run: Run[Thing, Status]) -> Status:
        run.on_commit(write if run.foreign_id == "first" else lambda c: c.execute("insert into business values (4)"))
        return Status.B

    async with SQLiteBackend(tmp_path / "runs.db") as backend:
        await backend._database.write(lambda c: c.execute("create table business (value integer unique)").fetchall())
        wf = builder.build(backend)
        async with wf.running():
            for name in ("first", "second"):
                await wf.trigger(name)
                run = await wf.wait_for(name, Status.B, timeout=PATIENCE)
                assert [version.attempt for version in await wf.history(run.run_id)] == [1, 1]
        rows = await backend._database.read(lambda c: c.execute("select value from business order by 1").fetchall())
        assert rows == [(3,), (4,)]
