"""Entering a backend: beside others that start, and when it fails half-way, is cancelled or finds no server."""

import asyncio
import itertools
from contextlib import AsyncExitStack
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.postgres.database import Database, connected
from workflow.errors import Unavailable
from workflow_adapters.conformance._values import until


async def test_who_starts_while_another_makes_the_settings_gets_the_others(database: Database) -> None:
    """Found in practice: the statement that waited for the other's insert did not see its row."""
    async with database.backend():
        pass
    settings = database.table("settings")
    await database.beside.execute(f"delete from {settings}")

    async def waits() -> bool:
        waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like $1"
        return await database.beside.fetchval(waiting, f"%insert into {settings}%") is not None

    async def start() -> int:
        async with database.backend(partitions=8) as backend:
            return backend.event_streamer.partitions("topic")

    async with asyncio.timeout(20), connected(database.url) as another:
        change = another.transaction()
        await change.start()
        await another.execute(f"insert into {settings} (partitions) values (4)")
        starting = asyncio.create_task(start())
        try:
            await until(waits)
        finally:
            await change.commit()
        assert await starting == 4


@pytest.mark.parametrize("table", ["migrations", "settings"])
async def test_who_fails_half_way_leaves_no_connection(database: Database, table: str) -> None:
    async with database.backend():
        pass
    await database.beside.execute(f"drop table {database.table(table)}")
    async with database.user() as user:
        with pytest.raises(Exception, match=r"nothing was changed|does not exist"):
            async with database.backend(user.url, migrate=table == "migrations"):
                pass
        await user.gone()


async def test_who_is_cancelled_at_any_point_of_entering_leaves_no_connection(database: Database) -> None:
    async with database.backend():
        pass
    async with database.user() as user:
        for turns in itertools.count():
            async with AsyncExitStack() as stack:
                entering = asyncio.create_task(stack.enter_async_context(database.backend(user.url)))
                for _ in range(turns):
                    await asyncio.sleep(0.001)
                entering.cancel()
                await asyncio.wait([entering])
            await user.gone()
            if not entering.cancelled():
                break
        assert turns > 3


async def test_who_finds_no_server_says_so(database: Database) -> None:
    with pytest.raises(Unavailable, match=r"Postgres: .*refused|Postgres: .*Connect"):
        async with database.backend("postgresql://postgres@127.0.0.1:1/workflow"):
            pass
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        async with database.backend(database.url.rpartition("/")[0] + "/no_such_database"):
            pass


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_that_cannot_hold_every_text_is_refused(database: Database, encoding: str) -> None:
    """Before, each run with such a text failed by itself, and everything of its batch with it."""
    name = f"{database.schema}_{encoding.lower()}"
    await database.beside.execute(
        f"create database \"{name}\" template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'"
    )
    url = urlunsplit(urlsplit(database.url)._replace(path=f"/{name}"))
    try:
        with pytest.raises(ValueError, match=f"encoding of the Postgres database is {encoding}.*UTF8 is needed"):
            async with database.backend(url):
                pass
    finally:
        await database.beside.execute(f'drop database "{name}"')
