"""Three steps, one after the other, durable on one SQLite file."""

import asyncio
import sys
from datetime import timedelta
from enum import IntEnum

import msgspec

from workflow import Builder, Run
from workflow_adapters.sqlite import SQLiteBackend


class Status(IntEnum):
    STARTED = 1
    DOCS_READ = 2
    EXAMPLE_RUN = 3
    DONE = 4


class Guide(msgspec.Struct):
    docs_read: bool = False
    example_run: bool = False
    done: bool = False


builder = Builder("getting started", Guide, Status)


@builder.step(Status.STARTED, to=Status.DOCS_READ)
async def read_docs(run: Run[Guide, Status]) -> Status:
    run.object.docs_read = True
    return Status.DOCS_READ


@builder.step(Status.DOCS_READ, to=Status.EXAMPLE_RUN)
async def run_example(run: Run[Guide, Status]) -> Status:
    run.object.example_run = True
    return Status.EXAMPLE_RUN


@builder.step(Status.EXAMPLE_RUN, to=Status.DONE)
async def finish(run: Run[Guide, Status]) -> Status:
    run.object.done = True
    return Status.DONE


async def main(path: str = "getting_started.db") -> Guide:
    async with SQLiteBackend(path) as backend:
        wf = builder.build(backend)
        async with wf.running():
            run_id = await wf.trigger("reader-7")
            run = await wf.wait_for("reader-7", Status.DONE, run_id=run_id, timeout=timedelta(seconds=10))
            return run.object


if __name__ == "__main__":
    print(asyncio.run(main(*sys.argv[1:])))
