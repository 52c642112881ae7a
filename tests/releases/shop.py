"""Two releases of a user's program, both on this release of the library: RELEASE says which of them this process is.

Each workflow is changed in one way by the new release, and named after it. It obeys commands like `program.py`.
"""

import asyncio
import itertools
import json
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from enum import IntEnum
from typing import Any

import msgspec

from workflow import Builder, Options, Run, Workflow
from workflow.protocols import Backend

NEW = os.environ["RELEASE"] == "new"
LEASE = timedelta(seconds=4)
"""Longer than a busy machine stands still: a lease that ran out would have a handler called twice."""
PATIENCE = timedelta(seconds=60)


class Few(IntEnum):
    STARTED = 1
    CHECKED = 2
    PAID = 3
    DONE = 9


class Many(IntEnum):
    STARTED = 1
    CHECKED = 2
    PAID = 3
    SHIPPED = 4
    DONE = 9


class Renamed(IntEnum):
    STARTED = 1
    CHECKED = 2
    SETTLED = 3
    DONE = 9


class Line(msgspec.Struct):
    sku: str = ""


class PricedLine(msgspec.Struct):
    sku: str = ""
    price: int = 0


class Order(msgspec.Struct):
    steps: int = 0
    line: Line = msgspec.field(default_factory=Line)


class AnnotatedOrder(msgspec.Struct):
    steps: int = 0
    line: PricedLine = msgspec.field(default_factory=PricedLine)
    note: str = ""


calls: list[tuple[str, str]] = []
"""Each call of a handler: its workflow, and its idempotency key."""


def chain(name: str, status_type: Any, *, object_type: Any = Order, without_step: Sequence[int] = ()) -> Any:
    """A step at each status but the last, and none at these."""
    builder: Builder[Any, Any] = Builder(name, object_type, status_type)

    def declare(status: Any, following: Any) -> None:
        async def handle(run: Run[Any, Any]) -> Any:
            calls.append((name, run.idempotency_key))
            await asyncio.sleep(0.002)
            run.object.steps += 1
            return following

        if status in without_step:
            builder.callback(status, to=following)(lambda run, payload: following)
        else:
            builder.step(status, to=following)(handle)

    for status, following in itertools.pairwise(status_type):
        declare(status, following)
    return builder


def workflows(backend: Backend) -> dict[str, Workflow[Any, Any]]:
    """As this release declares them."""
    changed = {
        "status added": chain("status added", Many if NEW else Few),
        "status removed": chain("status removed", Few if NEW else Many),
        "status renamed": chain("status renamed", Renamed if NEW else Few),
        "field added": chain("field added", Few, object_type=AnnotatedOrder if NEW else Order),
        "step added": chain("step added", Few, without_step=() if NEW else (Few.PAID,)),
        "more shards": chain("more shards", Few),
        "fewer shards": chain("fewer shards", Few),
    }
    counts = {"more shards": (2, 4), "fewer shards": (4, 3)}
    return {
        name: builder.build(
            backend,
            default_options=Options(parallel_count=counts.get(name, (1, 1))[NEW]),
            # Often enough to find what it should leave alone.
            sweep_after=timedelta(seconds=1),
        )
        for name, builder in changed.items()
    }


def backend_of(url: str) -> Backend:
    if url.startswith("postgres"):
        from workflow_adapters.postgres import PostgresBackend

        dsn, _, schema = url.partition("#")
        return PostgresBackend(dsn, schema=schema, lease_time=LEASE)
    from workflow_adapters.sqlite import SQLiteBackend

    return SQLiteBackend(url.removeprefix("sqlite:///"), lease_time=LEASE)


class Program:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._workflows = workflows(backend)
        self._running = AsyncExitStack()

    async def run(self) -> str:
        for wf in self._workflows.values():
            await self._running.enter_async_context(wf.running())
        return "running"

    async def stop(self) -> str:
        await self._running.aclose()
        return "stopped"

    async def trigger(self, prefix: str, count: int) -> int:
        """So many runs of each workflow, a few at a time; the new release fills the fields that it added."""
        for number in range(count):
            await asyncio.gather(*(self._trigger(name, f"{prefix} {number}") for name in self._workflows))
        return count

    async def _trigger(self, name: str, foreign_id: str) -> None:
        filled = AnnotatedOrder(line=PricedLine("x", 7), note="kept")
        value = filled if NEW and name == "field added" else None
        await self._workflows[name].trigger(foreign_id, value)

    async def finish(self, prefix: str, count: int, names: list[str]) -> str:
        """Wait until these runs of these workflows are done."""
        for name in names:
            wf = self._workflows[name]
            done = list(wf._engine.definition.status_type)[-1]
            for number in range(count):
                try:
                    await wf.wait_for(f"{prefix} {number}", done, timeout=PATIENCE)
                except Exception as error:
                    raise AssertionError(f"{name}: {prefix} {number}") from error
        return "finished"

    async def at_home(self) -> bool:
        """True once this process holds a role, and knows of another that lives."""
        members = await self._backend.role_scheduler.members()
        holders = {one.process for one in await self._backend.role_scheduler.holdings() if one.expires_at is not None}
        return len(members) == 2 and {one.identity.id for one in members} == holders

    async def called(self) -> list[tuple[str, str]]:
        return calls


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
