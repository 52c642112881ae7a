"""Behind a real pgbouncer in transaction mode: the conformance kit, and workflows in two processes from end to end."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any, Literal

import asyncpg
import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from tests.factories.postgres import PostgresFactory
from tests.postgres.database import Database, connected
from workflow import Builder, Options, Run
from workflow.verify import verify
from workflow_adapters.conformance import CASES, Case, Factory, run
from workflow_adapters.conformance._values import until


def _pooler_url() -> str:
    url = os.environ.get("WORKFLOW_PGBOUNCER_URL", "")
    if not url:
        pytest.fail(
            "WORKFLOW_PGBOUNCER_URL is not set: `make test` starts one, `make services` prints it", pytrace=False
        )
    return url


@pytest.fixture
async def pooled() -> AsyncIterator[Factory]:
    factory = PostgresFactory(_pooler_url(), statement_cache_size=0)
    yield factory
    await factory.close()


LONG = "random_batches_are_answered_as_the_model_answers_them"  # a pooler does not change what statements mean
RUNNABLE = [case for case in CASES if not set(case.needs) & set(PostgresFactory.lacks) and case.name != LONG]


@pytest.mark.parametrize("case", RUNNABLE, ids=lambda case: case.name)
async def test_conformance_behind_a_pooler(case: Case, pooled: Factory) -> None:
    await run(case, pooled)


def _declare(business: str, handled: list[str]) -> Builder[Thing, Status]:
    builder = Builder("pooled", Thing, Status)

    @builder.callback(Status.A)
    async def go(run: Run[Thing, Status], payload: bytes) -> Literal[Status.B]:
        return Status.B

    @builder.step(Status.B, options=Options(parallel_count=4))
    async def work(run: Run[Thing, Status]) -> Literal[Status.C]:
        async def write(connection: asyncpg.Connection) -> None:
            await connection.execute(f"insert into {business} values ($1)", run.foreign_id)

        handled.append(run.foreign_id)
        run.on_commit(write)
        return Status.C

    @builder.timeout(Status.C, timedelta(milliseconds=50))
    async def late(run: Run[Thing, Status], now: datetime) -> Literal[Status.D]:
        return Status.D

    return builder


async def _both_hold(database: Database) -> bool:
    holders = f"select count(distinct holder) from {database.table('leases')} where role like '%-of-4' and holder <> ''"
    return bool(await database.value(holders) == 2)


@pytest.mark.parametrize("listens", [False, True], ids=["polling", "listening to the server itself"])
async def test_two_processes_share_work_behind_a_pooler(
    database: Database, caplog: pytest.LogCaptureFixture, listens: bool
) -> None:
    """Callbacks, steps, timers, roles, `joined` and `on_commit`."""
    options: dict[str, Any] = {"statement_cache_size": 0, "listen_dsn": database.url if listens else ""}
    business = database.table("business")
    names = [f"run {number}" for number in range(20)]
    handled: list[list[str]] = [[], []]
    async with AsyncExitStack() as stack:
        backends = [await stack.enter_async_context(database.backend(_pooler_url(), **options)) for _ in range(2)]
        await database.beside.execute(f"create table {business} (what text)")
        workflows = [
            await stack.enter_async_context(_declare(business, calls).build(backend).running())
            for backend, calls in zip(backends, handled, strict=True)
        ]
        async with asyncio.timeout(20):
            await until(lambda: _both_hold(database))
        for number, name in enumerate(names):
            await workflows[number % 2].trigger(name)
        async with connected(_pooler_url(), statement_cache_size=0) as connection:
            for name in names:
                async with connection.transaction(), backends[0].joined(connection):
                    await connection.execute(f"insert into {business} values ('joined ' || $1)", name)
                    await workflows[0].callback(name, Status.A)
        for name in names:
            await workflows[1].wait_for(name, Status.D, timeout=PATIENCE)
        report = await verify(backends[0].record_store, workflows[0])
    assert report.ok, str(report)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    assert all(handled), "both processes held shards"
    rows = sorted(row[0] for row in await database.beside.fetch(f"select what from {business}"))
    assert rows == sorted([*names, *(f"joined {name}" for name in names)])


async def test_what_another_process_did_is_heard_of_without_listening(database: Database) -> None:
    """Polling costs latency, a second at most when nothing has happened for long; the safety net is far longer here."""
    options: dict[str, Any] = {"statement_cache_size": 0, "safety_net": timedelta(seconds=60)}
    handled: list[str] = []
    async with database.backend(_pooler_url(), **options) as here, database.backend(_pooler_url(), **options) as there:
        await database.beside.execute(f"create table {database.table('business')} (what text)")
        declared = _declare(database.table("business"), handled)
        async with declared.build(here).running() as wf:
            await wf.trigger("warm")
            await asyncio.sleep(1.5)  # long enough to poll seldom
            other = declared.build(there)
            await other.trigger("key")
            await other.callback("key", Status.A)
            await wf.wait_for("key", Status.D, timeout=timedelta(seconds=10))
