"""Postgres: a schema of its own for each test; outages and crashes by a gate between backend and server."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests.gate import Gate, ended
from workflow.protocols import Backend, Event, OnCommit, RunState
from workflow_adapters.conformance import Capability, Emptying, Factory
from workflow_adapters.postgres import PostgresBackend


class _GatedBackend(PostgresBackend):
    """A backend that reaches its server through a gate."""

    def __init__(self, dsn: str, gate: Gate, **options: Any) -> None:
        super().__init__(dsn, **options)
        self.gate = gate

    def parts(self) -> Sequence[object]:
        return (self.gate, *super().parts())


class PostgresFactory(Factory):
    lacks = MappingProxyType(
        {
            Capability.CONNECTOR: "it brings no connector source",
        }
    )
    lease_time = timedelta(seconds=3)
    safety_net = timedelta(seconds=1)

    def __init__(self, dsn: str, **options: Any) -> None:
        self._dsn = dsn
        self._schema = f"test_{uuid.uuid4().hex[:12]}"
        self._options = {
            "schema": self._schema,
            "lease_time": self.lease_time,
            "safety_net": self.safety_net,
            **options,
        }
        self._rows_made = False
        self._making = asyncio.Lock()

    def backend(self) -> Backend:
        if not self.breakable:
            return PostgresBackend(self._dsn, **self._options)
        address = urlsplit(self._dsn)
        gate = Gate(address.hostname or "127.0.0.1", address.port or 5432)
        user = f"{address.netloc.rpartition('@')[0]}@" if "@" in address.netloc else ""
        through = urlunsplit(address._replace(netloc=f"{user}127.0.0.1:{gate.port}"))
        return _GatedBackend(through, gate, **self._options)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self._dsn, statement_cache_size=0)  # it may be a pooler
        try:
            yield connection
        finally:
            await connection.close()

    async def close(self) -> None:
        async with self._connection() as connection:
            await connection.execute(f'drop schema if exists "{self._schema}" cascade')

    async def crash(self, backend: Backend) -> None:
        assert isinstance(backend, _GatedBackend)
        backend.gate.cut()
        # whatever it wants to release, flush or announce does not reach the server any more
        await ended(lambda: backend.__aexit__(None, None, None))

    async def cut(self, backend: Backend) -> None:
        assert isinstance(backend, _GatedBackend)
        backend.gate.cut()

    async def mend(self, backend: Backend) -> None:
        assert isinstance(backend, _GatedBackend)
        backend.gate.mend()

    async def spoil_outbox(self, backend: Backend, outbox_id: str) -> bytes:
        async with self._connection() as connection:
            await connection.execute(
                f'update "{self._schema}".outbox set event = $2 where id = $1', int(outbox_id), b"\x00 spoiled"
            )
        return b"\x00 spoiled"

    async def empty_stream(self, how: Emptying) -> None:
        identity = "continue" if how is Emptying.PLAIN else "restart"
        cursors = f', "{self._schema}".cursors' if how is Emptying.WITHOUT_CURSORS else ""
        async with self._connection() as connection:
            await connection.execute(f'truncate "{self._schema}".events{cursors} {identity} identity')

    def refused_event(self, topic: str) -> Event:
        return Event(
            topic=topic,
            workflow_name="refused",
            run_id="refused",
            foreign_id="\ud800 is no text",
            status=1,
            run_state=RunState.RUNNING,
            version=1,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    async def _make_rows(self) -> None:
        async with self._making:
            if not self._rows_made:
                async with self._connection() as connection:
                    await connection.execute(f'create table "{self._schema}".business (value text)')
                self._rows_made = True

    def business_write(self, value: str) -> OnCommit:
        async def write(connection: asyncpg.Connection) -> None:
            await self._make_rows()
            await connection.execute(f'insert into "{self._schema}".business values ($1)', value)

        return write

    async def business_rows(self) -> Sequence[str]:
        await self._make_rows()
        async with self._connection() as connection:
            return [row[0] for row in await connection.fetch(f'select value from "{self._schema}".business')]

    @asynccontextmanager
    async def transaction(self, backend: Backend) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
        assert isinstance(backend, PostgresBackend)
        await self._make_rows()
        async with self._connection() as connection, connection.transaction(), backend.joined(connection):

            async def write(value: str) -> None:
                await connection.execute(f'insert into "{self._schema}".business values ($1)', value)

            yield write
