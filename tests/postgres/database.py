"""A schema of its own for each test, with a connection beside the backends for looking and for meddling."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg

from tests.backends import postgres_url
from workflow_adapters.postgres import PostgresBackend

__all__ = ["Database", "fresh"]


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

    def table(self, name: str) -> str:
        """The table, as SQL writes it."""
        quoted = self.schema.replace('"', '""')
        return f'"{quoted}".{name}'


@asynccontextmanager
async def fresh(schema: str | None = None) -> AsyncIterator[Database]:
    """An empty schema, dropped at the end."""
    url = postgres_url()
    beside = await asyncpg.connect(url)
    database = Database(url, schema or f"test_{uuid.uuid4().hex[:12]}", beside)
    try:
        yield database
    finally:
        quoted = database.schema.replace('"', '""')
        await beside.execute(f'drop schema if exists "{quoted}" cascade')
        await beside.close()
