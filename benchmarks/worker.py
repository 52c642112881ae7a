"""One worker process of the scale-out benchmark: python -m benchmarks.worker DSN SCHEMA MILLISECONDS."""

import asyncio
import gc
import sys
import time

from benchmarks.five_steps import STEPS, Counter, Status
from workflow import Builder, Options, Run, Workflow
from workflow.protocols import Backend
from workflow_adapters.postgres import PostgresBackend

SHARDS = 8
OPTIONS = Options(parallel_count=SHARDS, max_in_flight=1_000 // SHARDS)


def build(backend: Backend, milliseconds: float) -> Workflow[Counter, Status]:
    """Five steps, each of which computes for so long."""
    builder = Builder("five steps", Counter, Status)
    for number in range(1, STEPS + 1):
        origin, destination = Status(number), Status(number + 1)

        async def step(run: Run[Counter, Status], to: Status = destination) -> Status:
            until = time.thread_time() + milliseconds / 1e3
            while time.thread_time() < until:
                pass
            run.object.count += 1
            return to

        builder.step(origin, to=destination)(step)
    return builder.build(backend, default_options=OPTIONS)


async def work(dsn: str, schema: str, milliseconds: float) -> None:
    """Work until the pipe from the parent is closed."""
    async with PostgresBackend(dsn, schema=schema) as backend, build(backend, milliseconds).running():
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    asyncio.run(work(sys.argv[1], sys.argv[2], float(sys.argv[3])))
