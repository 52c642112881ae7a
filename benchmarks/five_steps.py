"""The work that is measured: five trivial steps, each changing a small object."""

import asyncio
import time
from datetime import timedelta
from enum import IntEnum

import msgspec

from workflow import Builder, Options, Run, Workflow
from workflow.protocols import Backend

STEPS = 5
PATIENCE = timedelta(seconds=120)


class Status(IntEnum):
    S1 = 1
    S2 = 2
    S3 = 3
    S4 = 4
    S5 = 5
    DONE = 6


class Counter(msgspec.Struct):
    count: int = 0
    note: str = "x"


class Completions:
    """Told by the last step's handler, which is the cheapest way to learn that a run is about to end."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[None]] = {}

    def expect(self, foreign_id: str) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting[foreign_id] = future
        return future

    def told(self, foreign_id: str) -> None:
        future = self.waiting.pop(foreign_id, None)
        if future is not None:
            future.set_result(None)


def declare(completions: Completions) -> Builder[Counter, Status]:
    builder = Builder("five steps", Counter, Status)
    for number in range(1, STEPS + 1):
        origin, destination = Status(number), Status(number + 1)

        async def step(run: Run[Counter, Status], to: Status = destination) -> Status:
            run.object.count += 1
            if to is Status.DONE:
                completions.told(run.foreign_id)
            return to

        builder.step(origin, to=destination)(step)
    return builder


async def throughput(backend: Backend, runs: int, in_flight: int) -> float:
    """Steps a second, from the first trigger until every run has completed."""
    completions = Completions()
    wf = declare(completions).build(backend, default_options=Options(max_in_flight=in_flight))
    numbers = iter(range(runs))
    triggered: list[tuple[str, str]] = []

    async def keep_one_in_flight() -> None:
        for number in numbers:
            foreign_id = f"f{number}"
            done = completions.expect(foreign_id)
            triggered.append((foreign_id, await wf.trigger(foreign_id)))
            await done

    async with wf.running():
        began = time.perf_counter()
        await asyncio.gather(*(keep_one_in_flight() for _ in range(in_flight)))
        # The handlers of the last steps have run; their commits are at most one batch behind.
        for foreign_id, run_id in triggered[-in_flight:]:
            await wf.wait_for(foreign_id, Status.DONE, run_id=run_id, timeout=PATIENCE)
        return runs * STEPS / (time.perf_counter() - began)


async def latencies(backend: Backend, runs: int) -> list[float]:
    """Seconds from trigger to done, one run at a time, sorted."""
    wf = declare(Completions()).build(backend)
    async with wf.running():
        await _timed(wf, "warm-up")
        return sorted([await _timed(wf, f"l{number}") for number in range(runs)])


async def _timed(wf: Workflow[Counter, Status], foreign_id: str) -> float:
    began = time.perf_counter()
    run_id = await wf.trigger(foreign_id)
    await wf.wait_for(foreign_id, Status.DONE, run_id=run_id, timeout=PATIENCE)
    return time.perf_counter() - began
