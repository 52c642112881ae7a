"""A program that runs on two releases of the library: it is started with the one that PYTHONPATH names.

It obeys commands on standard input, one JSON object a line, and answers each with one line. It uses only names that
both releases have.
"""

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from enum import IntEnum
from typing import Any, Literal

import msgspec

from workflow import Builder, Options, Run
from workflow.protocols import Backend

RELEASE = os.environ["RELEASE"]
"""Which of the two this process is, as the test calls them."""


class Status(IntEnum):
    STARTED = 1
    CHECKED = 2
    ASKED = 3
    WAITED = 4
    DONE = 5


class Order(msgspec.Struct):
    handled_by: list[str] = []
    failures: int = 0


builder = Builder("orders", Order, Status)


@builder.step(Status.STARTED)
async def check(run: Run[Order, Status]) -> Literal[Status.CHECKED]:
    run.object.handled_by.append(RELEASE)
    return Status.CHECKED


@builder.step(Status.CHECKED, options=Options(err_back_off=timedelta(milliseconds=50)))
async def ask(run: Run[Order, Status]) -> Literal[Status.ASKED]:
    if run.attempt == 1 and run.foreign_id.endswith("7"):
        raise RuntimeError("the first attempt of every tenth order fails")
    run.object.handled_by.append(RELEASE)
    return Status.ASKED


@builder.callback(Status.ASKED)
async def answer(run: Run[Order, Status], payload: bytes) -> Literal[Status.WAITED]:
    run.object.handled_by.append(RELEASE)
    return Status.WAITED


@builder.timeout(Status.WAITED, timedelta(milliseconds=300))
async def waited(run: Run[Order, Status], now: Any) -> Literal[Status.DONE]:
    run.object.handled_by.append(RELEASE)
    return Status.DONE


def backend_of(url: str) -> Backend:
    if url.startswith("postgres"):
        from workflow_adapters.postgres import PostgresBackend

        dsn, _, schema = url.partition("#")
        return PostgresBackend(dsn, schema=schema, lease_time=timedelta(seconds=2))
    from workflow_adapters.sqlite import SQLiteBackend

    return SQLiteBackend(url.removeprefix("sqlite:///"))


class Program:
    def __init__(self, backend: Backend) -> None:
        self.wf = builder.build(backend)
        self._running = AsyncExitStack()

    async def run(self) -> str:
        await self._running.enter_async_context(self.wf.running())
        return "running"

    async def stop(self) -> str:
        await self._running.aclose()
        return "stopped"

    async def trigger(self, prefix: str, count: int) -> list[str]:
        return list(await asyncio.gather(*(self.wf.trigger(f"{prefix}-{n}") for n in range(count))))

    async def answer(self, prefix: str, count: int) -> str:
        async def one(foreign_id: str) -> None:
            await self.wf.wait_for(foreign_id, Status.ASKED, timeout=timedelta(seconds=60))
            await self.wf.callback(foreign_id, Status.ASKED, b"yes")

        await asyncio.gather(*(one(f"{prefix}-{n}") for n in range(count)))
        return "answered"

    async def finish(self, prefix: str, count: int) -> dict[str, int]:
        """Wait for the end of these runs; how many steps each release handled."""
        handled: dict[str, int] = {}
        for n in range(count):
            run = await self.wf.wait_for(f"{prefix}-{n}", Status.DONE, timeout=timedelta(seconds=60))
            for release in (await self.wf.get(run.run_id)).object.handled_by:
                handled[release] = handled.get(release, 0) + 1
        return handled

    async def steer(self, run_id: str) -> list[str]:
        """Pause, resume and cancel a run that waits, then erase its data; the run states of its history."""
        await self.wf.pause(run_id, "looked at")
        await self.wf.resume(run_id)
        await self.wf.cancel(run_id, "not wanted")
        await self.wf.delete_data(run_id, "asked for")
        while str((await self.wf.get(run_id)).run_state) != "Data Deleted":
            await asyncio.sleep(0.02)
        return [str(version.run_state) for version in await self.wf.history(run_id)]

    async def look(self, run_id: str) -> dict[str, Any]:
        run = await self.wf.get(run_id)
        return {"status": int(run.status), "state": str(run.run_state), "object": bool(run.object)}


async def main(url: str) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with backend_of(url) as backend:
        program = Program(backend)
        print(json.dumps("open"), flush=True)
        while line := await reader.readline():
            asked = json.loads(line)
            print(json.dumps(await getattr(program, asked.pop("do"))(**asked)), flush=True)
        await program.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
