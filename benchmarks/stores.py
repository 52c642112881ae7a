"""The stores that are measured: a fresh backend of each for every figure, and its limit by hand."""

import itertools
import os
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import asyncpg

from benchmarks.by_hand import memory, postgres, sqlite
from workflow.protocols import Backend
from workflow_adapters.memory import MemoryBackend
from workflow_adapters.postgres import PostgresBackend
from workflow_adapters.sqlite import SQLiteBackend

BATCH = 250
"""Changes by hand in one transaction: what the engine reaches with 1,000 runs in flight."""


class Store(Protocol):
    """One kind of store."""

    name: str

    @abstractmethod
    def fresh(self) -> AbstractAsyncContextManager[Backend]:
        """A backend without any runs; they are removed with it."""

    @abstractmethod
    async def by_hand(self, in_flight: int) -> float:
        """Steps a second without the engine."""

    async def tidy(self) -> None:
        """Have the store do at once what it does by itself in time, after it was filled."""
        return


class Memory(Store):
    name = "memory"

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Backend]:
        async with MemoryBackend() as backend:
            yield backend

    async def by_hand(self, in_flight: int) -> float:
        return await memory.steps_per_second(8_000, min(in_flight, BATCH))


class SQLite(Store):
    name = "sqlite"

    def __init__(self, directory: Path) -> None:
        self._directory, self._numbers = directory, itertools.count(1)

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Backend]:
        async with SQLiteBackend(self._directory / f"{next(self._numbers)}.db") as backend:
            yield backend

    async def by_hand(self, in_flight: int) -> float:
        path = self._directory / f"by-hand-{next(self._numbers)}.db"
        return sqlite.steps_per_second(path, 5_000, min(in_flight, BATCH))


class Postgres(Store):
    name = "postgres"

    def __init__(self, dsn: str) -> None:
        self.dsn, self._numbers = dsn, itertools.count(1)

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Backend]:
        async with self.schema() as schema, PostgresBackend(self.dsn, schema=schema) as backend:
            yield backend

    @asynccontextmanager
    async def schema(self) -> AsyncIterator[str]:
        """The name of a schema that is dropped in the end."""
        schema = f"benchmark_{os.getpid()}_{next(self._numbers)}"
        try:
            yield schema
        finally:
            connection = await asyncpg.connect(self.dsn)
            await connection.execute(f"drop schema if exists {schema} cascade")
            await connection.close()

    async def tidy(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        await connection.execute("vacuum analyze")
        await connection.close()

    async def by_hand(self, in_flight: int) -> float:
        return (await postgres.steps_per_second(self.dsn, max(6 * in_flight, 200), in_flight))[0]
