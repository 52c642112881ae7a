"""What was joined to a user's transaction goes on soon after its commit, however long that took."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from tests.postgres.database import Database, connected
from tests.soak.model import Status, declare
from workflow_adapters.postgres import PostgresBackend

LONG, SOON = timedelta(seconds=60), timedelta(seconds=3)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["by the same process", "by another process"])
async def test_a_joined_run_is_worked_on_soon_after_a_slow_commit(database: Database, elsewhere: bool) -> None:
    """The safety net of a minute would find it, too, but not soon."""
    backends = (database.backend(safety_net=LONG), database.backend(safety_net=LONG))
    async with backends[0] as backend, backends[1] as other, connected(database.url) as connection:
        joining = declare().build(backend)
        async with declare().build(other if elsewhere else backend).running() as wf:
            async with connection.transaction(), backend.joined(connection):
                await joining.trigger("key")
                await asyncio.sleep(0.5)  # the user is slow; by then every early wake-up has been in vain
            await wf.wait_for("key", Status.DONE, timeout=SOON)


async def test_closing_does_not_wait_for_a_transaction_that_is_still_open(database: Database) -> None:
    async with connected(database.url) as connection:
        change = connection.transaction()
        async with database.backend() as backend:
            await change.start()
            async with backend.joined(connection):
                await declare().build(backend).trigger("key")
        await change.commit()
    assert await database.value(f"select count(*) from {database.table('runs')}") == 1


Joining = Callable[[PostgresBackend], AbstractAsyncContextManager[object]]
"""Begins a transaction on a connection from a pool, and joins it."""


@asynccontextmanager
async def _asyncpg_pool(url: str) -> AsyncIterator[Joining]:
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:

        @asynccontextmanager
        async def joining(backend: PostgresBackend) -> AsyncIterator[None]:
            async with pool.acquire() as connection, connection.transaction(), backend.joined(connection):
                yield

        yield joining


@asynccontextmanager
async def _sqlalchemy_sessions(url: str) -> AsyncIterator[Joining]:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"), pool_size=1, max_overflow=0)

    @asynccontextmanager
    async def joining(backend: PostgresBackend) -> AsyncIterator[None]:
        async with AsyncSession(engine) as session, session.begin(), backend.joined(session):
            yield

    yield joining
    await engine.dispose()


@asynccontextmanager
async def _sqlalchemy_connection(url: str) -> AsyncIterator[Joining]:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:

        @asynccontextmanager
        async def joining(backend: PostgresBackend) -> AsyncIterator[None]:
            async with connection.begin(), backend.joined(connection):
                yield

        yield joining
    await engine.dispose()


@asynccontextmanager
async def _one_connection(url: str) -> AsyncIterator[Joining]:
    async with connected(url) as connection:

        @asynccontextmanager
        async def joining(backend: PostgresBackend) -> AsyncIterator[None]:
            async with connection.transaction(), backend.joined(connection):
                yield

        yield joining


@pytest.mark.parametrize("pool", [_asyncpg_pool, _sqlalchemy_sessions, _sqlalchemy_connection, _one_connection])
async def test_a_joined_run_is_worked_on_soon_though_its_connection_is_in_the_next_transaction(
    database: Database, pool: Callable[[str], AbstractAsyncContextManager[Joining]]
) -> None:
    """The connection goes back to its pool of one, and somebody else begins a long transaction on it at once."""
    errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with (
        database.backend(safety_net=LONG) as backend,
        pool(database.url) as joining,
        declare().build(backend).running() as wf,
    ):
        for number in range(3):
            async with joining(backend):
                await wf.trigger(f"key {number}")
            async with joining(backend):
                await wf.wait_for(f"key {number}", Status.DONE, timeout=SOON)
    gc.collect()  # an exception that nobody asked for is reported now
    assert errors == []
