"""Business rows in the very transaction that moves the run: what a user's function may do, and what it may not."""

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


REFUSED: dict[str, tuple[Callable[[sqlite3.Connection], Any], str]] = {
    "an async function": (asynchronous, "must be a plain function"),
    "a commit": (committing, "not authorized"),
    "a script, which commits": (scripting, "not authorized"),
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
        await backend._database.write(lambda c: c.execute("create table business (value integer)").fetchall())
        wf = builder.build(backend, default_options=Options(err_back_off=timedelta(milliseconds=10)))
        async with wf.running():
            run_id = await wf.trigger("key")
            await wf.wait_for("key", Status.B, run_id=run_id, timeout=PATIENCE)
        history = await wf.history(run_id)
        assert [version.attempt for version in history] == [1, 2, 1]
        assert why in history[1].last_error
        rows = await backend._database.read(lambda c: c.execute("select value from business").fetchall())
        assert rows == [(2,)]
