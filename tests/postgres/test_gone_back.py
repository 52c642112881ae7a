"""The database is replaced, under load, by its state of some seconds before: all runs in it move again."""

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.backends import MissingService, postgres_url
from tests.e2e.going_back import declared
from workflow.verify import verify
from workflow_adapters.conformance._values import until
from workflow_adapters.postgres import PostgresBackend

RUNS = 200
LOST = 4.0
"""Seconds that the new database lacks."""
WITHIN = 60.0


@dataclass
class Named:
    """A database of its own on the server of the tests."""

    admin: asyncpg.Connection
    url: str
    name: str

    async def replace_by(self, other: str) -> None:
        """As an operator does it: nobody may connect while the names change."""
        await self.admin.execute(f"alter database {self.name} with allow_connections false")
        await self.admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", self.name)
        for sql in (
            f"alter database {self.name} rename to {self.name}_old",
            f"alter database {other} rename to {self.name}",
        ):
            async with asyncio.timeout(10):
                while True:
                    try:
                        await self.admin.execute(sql)
                        break
                    except asyncpg.ObjectInUseError:
                        await asyncio.sleep(0.02)


@asynccontextmanager
async def _database() -> AsyncIterator[Named]:
    try:
        url = postgres_url()
    except MissingService as missing:
        pytest.fail(str(missing), pytrace=False)
    name = f"gone_back_{uuid.uuid4().hex[:8]}"
    admin = await asyncpg.connect(url)
    await admin.execute(f"create database {name}")
    try:
        yield Named(admin, urlunsplit(urlsplit(url)._replace(path=f"/{name}")), name)
    finally:
        for one in (name, f"{name}_old", f"{name}_new"):
            await admin.execute(f"drop database if exists {one} with (force)")
        await admin.close()


def _path(name: str) -> str:
    beside_server = os.path.join(os.environ.get("WORKFLOW_POSTGRES_BIN", ""), name)
    tool = beside_server if os.path.exists(beside_server) else shutil.which(name)
    assert tool, f"this test needs {name}: install postgresql-client"
    return tool


async def _tool(name: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(_path(name), *arguments)
    assert await process.wait() == 0


async def test_every_run_of_a_database_that_went_back_moves_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two processes at work; a standby that had lost the last seconds takes over."""
    async with _database() as database:
        backends = [PostgresBackend(database.url) for _ in range(2)]
        async with backends[0], backends[1]:
            workflows = [declared().build(backend) for backend in backends]
            async with workflows[0].running(), workflows[1].running():
                await asyncio.gather(*(workflows[n % 2].trigger(f"key {n}") for n in range(RUNS)))
                await asyncio.sleep(2)
                dump = str(tmp_path / "dump")
                await _tool("pg_dump", "-Fc", "-f", dump, database.url)
                began = asyncio.get_running_loop().time()
                await database.admin.execute(f"create database {database.name}_new")
                new = database.url + "_new"
                await _tool("pg_restore", "-d", new, dump)
                await asyncio.sleep(began + LOST - asyncio.get_running_loop().time())
                await database.replace_by(f"{database.name}_new")
                connection = await asyncpg.connect(database.url)
                live = "select count(*) from workflow.runs where run_state in (1, 2, 3)"
                assert await connection.fetchval("select count(*) from workflow.runs") == RUNS

                async def finished() -> bool:
                    return bool(await connection.fetchval(live) == 0)

                async with asyncio.timeout(WITHIN):
                    await until(finished)
                await connection.close()
            report = await verify(backends[0].record_store, "going back")
            assert not report.violations, report
    reported = [record for record in caplog.records if "went back in time" in record.message]
    assert 1 <= len(reported) <= 2, "each process says it once"
