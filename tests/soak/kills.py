"""Worker processes are killed with SIGKILL all the time, and started again: 0 lost, 0 stuck, 0 repeated versions."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from tests.soak.load import Load
from tests.soak.model import declare
from tests.soak.stores import opened
from tests.soak.worker import Worker, start

__all__ = ["Kills", "kill_workers"]

_PATIENCE = 120.0


class Kills(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and how it went; that it returns at all means that the checker found nothing.

    Attributes:
        runs: of five steps each.
        kills: processes that were killed.
        under_way: how many times a run was acknowledged but not ended when a process was killed, on average.
        drain: seconds from the last kill to the end of the last run.
        repeats: attempts that a process was killed in and that count as failed.
    """

    runs: int
    kills: int
    under_way: float
    drain: float
    repeats: int

    def __str__(self) -> str:
        return (
            f"{self.runs:,} runs of five steps, {self.kills} processes killed with {self.under_way:.0f} runs under way "
            f"each time: 0 lost, 0 stuck, 0 repeated versions; {self.repeats} attempts counted as failed; drained "
            f"{self.drain:.1f} s after the last kill"
        )


@asynccontextmanager
async def _workers(store: str, schema: str, lease_time: float, count: int) -> AsyncIterator[list[Worker]]:
    workers = list(await asyncio.gather(*(start(store, schema, lease_time=lease_time) for _ in range(count))))
    try:
        yield workers
    finally:
        await asyncio.gather(*(worker.stop() for worker in workers))


async def kill_workers(
    store: str,
    schema: str,
    *,
    runs: int,
    seconds: float,
    every: float = 1.0,
    workers: int = 4,
    lease_time: float = 2.0,
    seed: int = 0,
) -> Kills:
    """Feed so many runs within that time, killing a worker every so often; judge them when all have ended.

    Raises:
        AssertionError: the promise was broken, or the runs do not end.
    """
    choose = random.Random(seed)
    async with opened(store, schema, lease_time) as backend, _workers(store, schema, lease_time, workers) as processes:
        load = Load(declare().build(backend), backend.record_store, runs)
        feeding = asyncio.create_task(load.feed(over=seconds))
        under_way, killed = [], 0.0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(every)
            under_way.append(len(load.acknowledged) - await load.count_ended())
            place = choose.randrange(workers)
            await processes[place].kill()
            killed = time.monotonic()
            processes[place] = await start(store, schema, lease_time=lease_time)
        await feeding
        await load.ended(load.count_ended, within=_PATIENCE)
        drain = time.monotonic() - killed
        repeats = await load.judge()
    return Kills(
        runs=runs, kills=len(under_way), under_way=sum(under_way) / len(under_way), drain=drain, repeats=repeats
    )
