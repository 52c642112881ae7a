"""What docs/postgres.md tells an operator: the grants that are enough, and a deploy that mixes releases."""

import asyncio
import re
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from tests.postgres.database import Database
from workflow import Builder, Options, Run
from workflow.verify import verify
from workflow_adapters.postgres import PostgresBackend, Retention, SchemaBehind
from workflow_adapters.postgres.migrations import CURRENT, MIGRATIONS, Migration, script

GUIDE = Path(__file__).parents[2] / "docs/postgres.md"
ZERO = timedelta(0)


def _declare() -> Builder[Thing, Status]:
    builder = Builder("operated", Thing, Status)

    @builder.step(Status.A, options=Options(parallel_count=4))
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    @builder.timeout(Status.B, timedelta(milliseconds=20))
    async def late(run: Run[Thing, Status], now: datetime) -> Literal[Status.C]:
        return Status.C

    return builder


async def _work(backends: list[PostgresBackend], prefix: str, count: int = 40) -> None:
    """Runs that are triggered here and there, and worked on by all."""
    async with AsyncExitStack() as stack:
        workflows = [await stack.enter_async_context(_declare().build(backend).running()) for backend in backends]
        names = [f"{prefix} {number}" for number in range(count)]
        for number, name in enumerate(names):
            await workflows[number % len(workflows)].trigger(name)
        for name in names:
            await workflows[0].wait_for(name, Status.C, timeout=PATIENCE)
        report = await verify(backends[0].record_store, workflows[0])
        assert report.ok, str(report)


def _documented(heading: str, language: str) -> str:
    section = GUIDE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert blocks, f"no {language} under {heading!r}"
    return "\n".join(blocks)


@pytest.mark.parametrize("pooled", [False, True])
async def test_the_documented_grants_are_enough_for_a_role_that_owns_nothing(database: Database, pooled: bool) -> None:
    await database.beside.execute(script(database.schema))
    options: dict[str, Any] = {"statement_cache_size": 0 if pooled else 100, "migrate": False}
    retention = Retention(finished_runs=ZERO, events=ZERO)
    async with database.user("nosuperuser") as user:
        grants = _documented("Roles and permissions", "sql").replace("workflow_app", f'"{user.name}"')
        await database.beside.execute(re.sub(r"\bschema workflow\b", f'schema "{database.schema}"', grants))
        async with database.backend(user.url, retention=retention, **options) as backend:
            await _work([backend], "granted")
            await backend.tidy()
            assert await database.value(f"select count(*) from {database.table('runs')}") < 40, "it may remove, too"


@pytest.mark.parametrize("heading", ["Looking at runs", "Monitoring"])
async def test_the_documented_queries_can_be_asked(database: Database, heading: str) -> None:
    async with database.backend() as backend:
        await _work([backend], "seen", count=3)
        for query in _documented(heading, "sql").split(";"):
            if query.strip():
                await database.beside.fetch(query.replace("workflow.", f'"{database.schema}".'))


async def test_two_releases_share_a_database_while_the_schema_is_expanded(database: Database) -> None:
    """A rolling deploy: old processes work on while new ones migrate, and can be started again until all are new."""
    expand = Migration("a column of the next release", "alter table {schema}.runs add column tag text default '';")
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(database.backend())
        await _work([old], "before")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("workflow_adapters.postgres.migrations.MIGRATIONS", (*MIGRATIONS, expand))
            for module in ("migrations", "schema"):
                patch.setattr(f"workflow_adapters.postgres.{module}.CURRENT", CURRENT + 1)
            with pytest.raises(SchemaBehind):
                async with database.backend(migrate=False):
                    pass
            new, another = database.backend(), database.backend()
            # The old one is at work while two new ones start, of which one migrates.
            await asyncio.gather(
                _work([old], "meanwhile"),
                stack.enter_async_context(new),
                _enter_alone(another),
            )
        assert await database.value(f"select max(number) from {database.table('migrations')}") == CURRENT + 1
        await _work([old, new], "mixed")
        for migrate in (True, False):
            async with database.backend(migrate=migrate) as restarted:
                await _work([restarted, new], f"old, started again: {migrate}")


async def _enter_alone(backend: PostgresBackend) -> None:
    async with backend:
        pass
