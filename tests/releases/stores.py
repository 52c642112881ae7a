"""The databases that two releases can share."""

import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from workflow.protocols import Backend
from workflow_adapters.postgres import PostgresBackend
from workflow_adapters.sqlite import SQLiteBackend

STORES = ("sqlite", "postgres")


class Store(NamedTuple):
    """An empty database.

    Attributes:
        url: as `program.py` takes it.
        backend: this release's backend on it.
    """

    url: str
    backend: Callable[[], Backend]

    @staticmethod
    @asynccontextmanager
    async def of(kind: str, directory: Path) -> "AsyncIterator[Store]":
        """A database of this kind, gone afterwards."""
        if kind == "sqlite":
            path = directory / "runs.db"
            yield Store(f"sqlite:///{path}", lambda: SQLiteBackend(str(path)))
            return
        import asyncpg

        dsn, schema = os.environ["WORKFLOW_POSTGRES_URL"], f"releases_{uuid.uuid4().hex[:12]}"
        try:
            yield Store(f"{dsn}#{schema}", lambda: PostgresBackend(dsn, schema=schema))
        finally:
            connection = await asyncpg.connect(dsn)
            await connection.execute(f"drop schema if exists {schema} cascade")
            await connection.close()
