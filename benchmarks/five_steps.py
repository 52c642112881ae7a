"""The work that is measured: five trivial steps, each changing a small object."""

import asyncio
import time
from datetime import timedelta
from enum import IntEnum

import msgspec

from workflow import Builder, Options, Run
from workflow.protocols import Backend

STEPS = 5


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
    slots = asyncio.Semaphore(in_flight)

    async def one(number: int) -> str:
        async with slots:
            done = completions.expect(f"f{number}")
            run_id = await wf.trigger(f"f{number}")
            await done
        return run_id

    async with wf.running():
        began = time.perf_counter()
        run_ids = await asyncio.gather(*(one(number) for number in range(runs)))
        # The handlers of the last steps have run; their commits are at most one batch behind.
        for number in range(max(0, runs - in_flight), runs):
            await wf.wait_for(f"f{number}", Status.DONE, run_id=run_ids[number], timeout=timedelta(seconds=60))
        return runs * STEPS / (time.perf_counter() - began)


async def latencies(backend: Backend, runs: int) -> list[float]:
    """Seconds from trigger to done, one run at a time, sorted."""
    wf = declare(Completions()).build(backend)
    taken = []
    async with wf.running():
        for number in range(runs):
            began = time.perf_counter()
            run_id = await wf.trigger(f"l{number}")
            await wf.wait_for(f"l{number}", Status.DONE, run_id=run_id, timeout=timedelta(seconds=60))
            taken.append(time.perf_counter() - began)
    return sorted(taken)


async def idle(backend: Backend, seconds: float) -> tuple[float, float]:
    """CPU share of one core and wake-ups a second of a running workflow with nothing to do."""
    import psutil

    wf = declare(Completions()).build(backend)
    process = psutil.Process()
    async with wf.running():
        await asyncio.sleep(1.0)
        cpu, switches = sum(process.cpu_times()[:2]), process.num_ctx_switches().voluntary
        await asyncio.sleep(seconds)
        used = sum(process.cpu_times()[:2]) - cpu
        woken = process.num_ctx_switches().voluntary - switches
    return used / seconds, woken / seconds
