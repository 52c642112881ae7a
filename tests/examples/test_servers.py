"""The HTTP examples as real servers: triggered over loopback, stopped by SIGTERM in the middle of work."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from examples.slow_order import Status, builder
from workflow import RunState
from workflow.verify import verify
from workflow_adapters.sqlite import SQLiteBackend

PATIENCE = 30.0
BOUND = 20.0
"""Seconds a server may take to stop; its drain time is 5."""

SERVERS = {
    "fastapi": lambda port: [
        "-m",
        "uvicorn",
        "examples.fastapi_app:app",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ],
    "aiohttp": lambda port: ["-m", "examples.aiohttp_app", str(port)],
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def served(kind: str, database: Path) -> AsyncIterator[tuple[httpx.AsyncClient, asyncio.subprocess.Process]]:
    port = free_port()
    environment = {**os.environ, "ORDERS_DB": str(database)}
    process = await asyncio.create_subprocess_exec(sys.executable, *SERVERS[kind](port), env=environment)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            await until(lambda: answers(client), f"{kind} serves")
            yield client, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/orders/none")).status_code == 404
    except httpx.TransportError:
        return False


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, f"never: {what}"
        await asyncio.sleep(0.02)


async def status(client: httpx.AsyncClient, order: str) -> str:
    return str((await client.get(f"/orders/{order}")).json()["status"])


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_run_triggered_over_http_completes(kind: str, tmp_path: Path) -> None:
    async with served(kind, tmp_path / "orders.db") as (client, _):
        placed = await client.post("/orders/order-1")
        assert placed.status_code == 202
        assert placed.json()["run_id"]

        async def shipped() -> bool:
            return await status(client, "order-1") == "SHIPPED"

        await until(shipped, "the order is shipped")


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_second_order_of_the_same_number_and_an_unknown_one_are_refused(kind: str, tmp_path: Path) -> None:
    async with served(kind, tmp_path / "orders.db") as (client, _):
        assert (await client.post("/orders/order-1?seconds=30")).status_code == 202
        assert (await client.post("/orders/order-1")).status_code == 409
        assert (await client.get("/orders/order-2")).status_code == 404


@pytest.mark.parametrize("kind", SERVERS)
async def test_sigterm_in_the_middle_of_work_stops_within_a_bound_and_loses_nothing(kind: str, tmp_path: Path) -> None:
    database = tmp_path / "orders.db"
    quick, slow = [f"quick-{number}" for number in range(10)], "slow"
    async with served(kind, database) as (client, process):
        placed = [await client.post(f"/orders/{order}?seconds=1.5") for order in quick]
        placed.append(await client.post(f"/orders/{slow}?seconds=600"))
        acknowledged = {answer.json()["run_id"]: 1 for answer in placed}
        process.send_signal(signal.SIGTERM)
        # uvicorn raises the signal again once it has shut down; either is a clean end.
        async with asyncio.timeout(BOUND):
            assert await process.wait() in (0, -signal.SIGTERM)
    async with SQLiteBackend(database) as backend:
        wf = builder.build(backend)
        for order in quick:
            # Its handler had not ended when the signal came, and was let finish: nobody else has worked on it yet.
            run = await wf.latest(order)
            assert (run.status, run.object.tries) == (Status.SHIPPED, 1)
        run = await wf.latest(slow)
        assert (run.status, run.run_state, run.attempt) == (Status.PLACED, RunState.INITIATED, 1)
        assert (await verify(backend.record_store, wf, acknowledged=acknowledged)).ok
        # What was cancelled goes on with whoever runs next; its 600 seconds begin anew, so it is only seen to start.
        await wf.cancel(run.run_id, "enough for a test")
    async with served(kind, database) as (client, _):
        shown = (await client.get(f"/orders/{slow}")).json()
        assert (shown["status"], shown["run_state"]) == ("PLACED", "Cancelled")
        assert (await client.post(f"/orders/{slow}")).status_code == 202

        async def shipped() -> bool:
            return await status(client, slow) == "SHIPPED"

        await until(shipped, "the order is placed again and shipped")
