"""A process is killed between the user's write and the commit, and right after it: both are there, or neither is."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from tests.postgres.database import Database
from tests.postgres.joining import declare
from workflow import RunState, Workflow
from workflow.verify import verify


async def _killed(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.postgres.joining", *arguments)
    assert await process.wait() == -signal.SIGKILL, "it was not killed where it should be"


@asynccontextmanager
async def _workflow(database: Database) -> AsyncIterator[Workflow[Thing, Status]]:
    backend = database.backend(lease_time=timedelta(seconds=1))
    async with backend, declare(database.schema, database.url).build(backend).running() as wf:
        yield wf
        report = await verify(backend.record_store, wf)
        assert report.ok, str(report)


async def _prepare(database: Database) -> None:
    async with database.backend() as backend:
        wf = declare(database.schema, database.url).build(backend)
        for name in ("called", "paused", "cancelled"):
            await wf.trigger(name, run_id=name)
    await database.beside.execute(f"create table {database.table('business')} (what text)")


async def _business(database: Database) -> list[str]:
    rows = await database.beside.fetch(f"select what from {database.table('business')}")
    return sorted(row[0] for row in rows)


@pytest.mark.parametrize("driver", ["asyncpg", "sqlalchemy"])
async def test_killed_before_the_commit_neither_the_row_nor_any_verb_happened(database: Database, driver: str) -> None:
    await _prepare(database)
    await _killed("verbs", driver, "before", database.url, database.schema)
    async with _workflow(database) as wf:
        for name in ("called", "paused", "cancelled"):
            run = await wf.get(name)
            assert (run.run_state, run.status, run.version) == (RunState.INITIATED, Status.A, 1)
        assert {run.run_id for run in await wf.list(limit=10)} == {"called", "paused", "cancelled"}
        assert await _business(database) == []
        await wf.callback("called", Status.A)  # nothing is held
        await wf.wait_for("called", Status.D, timeout=PATIENCE)


@pytest.mark.parametrize("driver", ["asyncpg", "sqlalchemy"])
async def test_killed_after_the_commit_the_row_and_every_verb_happened(database: Database, driver: str) -> None:
    await _prepare(database)
    await _killed("verbs", driver, "after", database.url, database.schema)
    assert await _business(database) == ["theirs"]
    async with _workflow(database) as wf:
        assert (await wf.get("paused")).run_state is RunState.PAUSED
        assert (await wf.get("cancelled")).run_state is RunState.CANCELLED
        # Nobody announced what was joined: the relay finds it by looking.
        await wf.wait_for("called", Status.D, timeout=PATIENCE)
        await wf.callback("triggered", Status.A)
        await wf.wait_for("triggered", Status.D, timeout=PATIENCE)


@pytest.mark.parametrize(("when", "steps"), [("inside", 2), ("next", 1)])
async def test_rows_of_on_commit_are_written_once_although_the_process_is_killed(
    database: Database, when: str, steps: int
) -> None:
    """Inside the transaction: the step runs twice, its rows are written once. After it: it is not run again."""
    await _prepare(database)
    async with database.backend() as backend:
        await declare(database.schema, database.url).build(backend).callback("called", Status.A)
    await _killed("step", when, database.url, database.schema)
    assert await _business(database) == (["step"] if when == "inside" else ["on_commit", "step"])
    async with _workflow(database) as wf:
        await wf.wait_for("called", Status.D, timeout=PATIENCE)
    assert await _business(database) == ["on_commit", *["step"] * steps]
