"""A run every hour, once for each hour however many processes are up."""

import asyncio
from datetime import timedelta
from enum import IntEnum

import msgspec

from workflow import Builder, Run, Workflow
from workflow.testing import FakeClock
from workflow_adapters.memory import MemoryBackend


class Status(IntEnum):
    DUE = 1
    REPORTED = 2


class Report(msgspec.Struct):
    lines: int = 0


builder = Builder("report", Report, Status)
builder.schedule("hourly-report", "@hourly")


@builder.step(Status.DUE, to=Status.REPORTED)
async def report(run: Run[Report, Status]) -> Status:
    run.object.lines = 1
    return Status.REPORTED


async def main() -> list[str]:
    """The run IDs of two hours."""
    clock = FakeClock()
    run_ids: list[str] = []
    async with MemoryBackend() as backend:
        wf = builder.build(backend, clock=clock)
        async with wf.running():
            for _ in range(2):
                clock.advance(timedelta(hours=1))
                run_ids.append(await newest(wf, run_ids))
    return run_ids


async def newest(wf: Workflow[Report, Status], known: list[str]) -> str:
    """The run ID of a finished run that is not known yet."""
    while True:
        run = await wf.wait_for("hourly-report", Status.REPORTED, timeout=timedelta(seconds=10))
        if run.run_id not in known:
            return run.run_id
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    print(asyncio.run(main()))
