"""How much more several worker processes on one database do than one."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from benchmarks.five_steps import STEPS
from benchmarks.stores import Postgres
from benchmarks.worker import SHARDS, build
from workflow_adapters.postgres import PostgresBackend

WORKERS = (1, 2, 4)
CASES = ((0.0, 4_000), (2.0, 400))
"""Milliseconds of computing in each step, and runs."""
SPREAD_WITHIN = 30.0
"""Seconds that shards may take to be spread over the processes."""


async def scale_out(store: Postgres) -> None:
    """Print steps a second of 1, 2 and 4 processes, for steps that do nothing and steps that compute."""
    for milliseconds, runs in CASES:
        alone = 0.0
        for workers in WORKERS:
            async with store.schema() as schema:
                reached = await _measured(store.dsn, schema, workers, milliseconds, runs)
            alone = alone or reached
            print(
                f"postgres {workers} worker{'s' if workers > 1 else ' '}, {milliseconds:.0f} ms of computing a step "
                f"{reached:9,.0f} steps/s, {reached / alone:.2f} times one"
            )


async def _measured(dsn: str, schema: str, workers: int, milliseconds: float, runs: int) -> float:
    connection = await asyncpg.connect(dsn)
    try:
        async with AsyncExitStack() as stack:
            # This process triggers and runs no consumers.
            wf = build(await stack.enter_async_context(PostgresBackend(dsn, schema=schema)), milliseconds)
            for _ in range(workers):
                await stack.enter_async_context(_worker(dsn, schema, milliseconds))
            await _spread(connection, schema, workers)
            began = time.perf_counter()
            await asyncio.gather(*(wf.trigger(f"f{number}") for number in range(runs)))
            completed = f"select count(*) from {schema}.runs where run_state = 5"
            while await connection.fetchval(completed) < runs:
                await asyncio.sleep(0.02)
            return runs * STEPS / (time.perf_counter() - began)
    finally:
        await connection.close()


async def _spread(connection: asyncpg.Connection, schema: str, workers: int) -> None:
    """Wait until every process holds its share of the first step's shards."""
    held = f"select count(*) from {schema}.leases where role like '%-1-consumer-%' and holder <> '' group by holder"
    until = time.perf_counter() + SPREAD_WITHIN
    while sorted(row[0] for row in await connection.fetch(held)) != [SHARDS // workers] * workers:
        if time.perf_counter() > until:
            raise TimeoutError(f"{SHARDS} shards are not spread over {workers} processes after {SPREAD_WITHIN:.0f} s")
        await asyncio.sleep(0.1)


@asynccontextmanager
async def _worker(dsn: str, schema: str, milliseconds: float) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "benchmarks.worker", dsn, schema, str(milliseconds)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError("a worker did not start")
        yield
    finally:
        process.stdin.close()
        await process.wait()
