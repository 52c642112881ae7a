"""A run that is still waiting after an hour is expired; a fake clock makes the hour pass."""

import asyncio
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Literal

import msgspec

from workflow import Builder, Run
from workflow.testing import FakeClock, await_timeout_insert
from workflow_adapters.memory import MemoryBackend


class Status(IntEnum):
    OFFERED = 1
    EXPIRED = 2


class Offer(msgspec.Struct):
    expired_at: datetime | None = None


builder = Builder("offer", Offer, Status)


@builder.timeout(Status.OFFERED, timedelta(hours=1))
async def expire(run: Run[Offer, Status], now: datetime) -> Literal[Status.EXPIRED]:
    run.object.expired_at = now
    return Status.EXPIRED


async def main() -> Offer:
    clock = FakeClock()
    async with MemoryBackend() as backend:
        wf = builder.build(backend, clock=clock)
        async with wf.running():
            run_id = await wf.trigger("offer-1")
            await await_timeout_insert(wf, "offer-1", run_id, Status.OFFERED)
            clock.advance(timedelta(hours=1))
            run = await wf.wait_for("offer-1", Status.EXPIRED, timeout=timedelta(seconds=5))
            return run.object


if __name__ == "__main__":
    print(asyncio.run(main()))
