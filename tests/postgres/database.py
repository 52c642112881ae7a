"""A schema of its own for each test, with a connection beside the backends for looking and for meddling."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests.backends import postgres_url
from workflow_adapters.conformance._values import until
from workflow_adapters.postgres import PostgresBackend

__all__ = ["Database", "User", "connected", "fresh"]


class Database:
    """One schema.

    Attributes:
        beside: a connection outside every backend.
    """

    def __init__(self, url: str, schema: str, beside: asyncpg.Connection) -> None:
        self.url, self.schema, self.beside = url, schema, beside

    def backend(self, url: str | None = None, **options: Any) -> PostgresBackend:
        """A backend on this schema, not entered yet."""
        options = {"lease_time": timedelta(seconds=3), "safety_net": timedelta(seconds=1), **options}
        return PostgresBackend(url or self.url, schema=self.schema, **options)

    async def value(self, sql: str, *arguments: object) -> Any:
        """The first column of the first row, asked beside every backend."""
        return await self.beside.fetchval(sql, *arguments)

    @asynccontextmanager
    async def user(self, attributes: str = "superuser") -> AsyncIterator["User"]:
        """A role of the server for one test, which must have closed all its connections at the end."""
        name = f"{self.schema}_user"
        await self.beside.execute(f'create role "{name}" login {attributes}')
        user = User(self, name)
        try:
            yield user
            await user.gone()
        finally:
            await self.beside.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", name)
            await self.beside.execute(f'drop owned by "{name}" cascade; drop role "{name}"')

    def table(self, name: str) -> str:
        """The table, as SQL writes it."""
        quoted = self.schema.replace('"', '""')
        return f'"{quoted}".{name}'


class User:
    """A role of the server.

    Attributes:
        url: connects as this role.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database, self.name = database, name
        address = urlsplit(database.url)
        self.url = urlunsplit(address._replace(netloc=f"{name}@{address.netloc.rpartition('@')[2]}"))

    async def connections(self) -> list[str]:
        """What the connections of this role call themselves, as the server sees it."""
        rows = await self._database.beside.fetch(
            "select application_name from pg_stat_activity where usename = $1 order by 1", self.name
        )
        return [row[0] for row in rows]

    async def gone(self) -> None:
        """Wait until the server has no connection of this role: it takes a moment to notice that one was closed."""

        async def none() -> bool:
            return not await self.connections()

        async with asyncio.timeout(10):
            await until(none)


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the test's own."""
    connection = await asyncpg.connect(url, **options)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def fresh(schema: str | None = None) -> AsyncIterator[Database]:
    """An empty schema, dropped at the end."""
    url = postgres_url()
    async with connected(url) as beside:
        database = Database(url, schema or f"test_{uuid.uuid4().hex[:12]}", beside)
        try:
            yield database
        finally:
            quoted = database.schema.replace('"', '""')
            await beside.execute(f'drop schema if exists "{quoted}" cascade')
