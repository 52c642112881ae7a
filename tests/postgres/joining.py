"""A process that kills itself with SIGKILL in a transaction that it shares with the engine, or right after it.

`python -m tests.postgres.joining verbs asyncpg|sqlalchemy before|after URL SCHEMA`: the verbs, in a transaction that
also writes a business row, killed before or after its commit.
`python -m tests.postgres.joining step inside|next URL SCHEMA`: a worker, killed inside `on_commit` after the row was
written, or when the move has been committed and the next step begins.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Literal

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from tests.e2e.model import Status, Thing
from workflow import Builder, Run
from workflow_adapters.postgres import PostgresBackend

__all__ = ["declare"]

Write = Callable[[str], Awaitable[object]]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def declare(schema: str, url: str, when: str = "never") -> Builder[Thing, Status]:
    """A callback at A, a step from B that writes a business row with its move, a step from C."""
    builder = Builder("joining", Thing, Status)

    @builder.callback(Status.A)
    async def go(run: Run[Thing, Status], payload: bytes) -> Literal[Status.B]:
        return Status.B

    @builder.step(Status.B)
    async def work(run: Run[Thing, Status]) -> Literal[Status.C]:
        async def write(connection: asyncpg.Connection) -> None:
            async with connection.transaction():  # users nest them
                await connection.execute(f"insert into {schema}.business values ('on_commit')")
            if when == "inside":
                _die()

        connection = await asyncpg.connect(url)  # outside the transaction: how often the step ran
        await connection.execute(f"insert into {schema}.business values ('step')")
        await connection.close()
        run.on_commit(write)
        return Status.C

    @builder.step(Status.C)
    async def end(run: Run[Thing, Status]) -> Literal[Status.D]:
        if when == "next":
            _die()
        return Status.D

    return builder


@asynccontextmanager
async def _asyncpg(url: str, backend: PostgresBackend, when: str) -> AsyncIterator[Write]:
    connection = await asyncpg.connect(url)
    async with connection.transaction(), backend.joined(connection):
        yield connection.execute
        if when == "before":
            _die()
    _die()


@asynccontextmanager
async def _sqlalchemy(url: str, backend: PostgresBackend, when: str) -> AsyncIterator[Write]:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with AsyncSession(engine) as session, session.begin(), backend.joined(session):
        yield lambda sql: session.execute(text(sql))
        if when == "before":
            _die()
    _die()


async def _verbs(driver: str, when: str, url: str, schema: str) -> None:
    transaction = {"asyncpg": _asyncpg, "sqlalchemy": _sqlalchemy}[driver]
    async with PostgresBackend(url, schema=schema, migrate=False) as backend:
        wf = declare(schema, url).build(backend)
        async with transaction(url, backend, when) as write:
            await write(f"insert into {schema}.business values ('theirs')")
            await wf.trigger("triggered", run_id="triggered")
            await wf.callback("called", Status.A)
            await wf.pause("paused", "joined")
            await wf.cancel("cancelled")


async def _step(when: str, url: str, schema: str) -> None:
    backend = PostgresBackend(url, schema=schema, lease_time=timedelta(seconds=1))
    async with backend, declare(schema, url, when).build(backend).running():
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run({"verbs": _verbs, "step": _step}[sys.argv[1]](*sys.argv[2:]))
