"""What a workflow costs that has nothing to do: processor time and wake-ups; and what waiting runs take in memory."""

import asyncio
import gc
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from enum import IntEnum
from typing import Literal

import psutil

from benchmarks.five_steps import Completions, Counter, declare
from benchmarks.stores import Store
from workflow import Builder, Run, Workflow
from workflow.protocols import Backend

LIVE = 10_000


class Waiting(IntEnum):
    FOR_AN_ANSWER = 1
    ANSWERED = 2


async def idle(backend: Backend, seconds: float) -> tuple[float, float]:
    """CPU share of one core and wake-ups a second of a running workflow with nothing to do."""
    wf = declare(Completions()).build(backend)
    process = psutil.Process()
    async with wf.running():
        await asyncio.sleep(1.0)
        cpu, switches = sum(process.cpu_times()[:2]), process.num_ctx_switches().voluntary
        await asyncio.sleep(seconds)
        used = sum(process.cpu_times()[:2]) - cpu
        woken = process.num_ctx_switches().voluntary - switches
    return used / seconds, woken / seconds


async def live_runs(store: Store) -> int:
    """Bytes by which a process grows for `LIVE` runs that wait for a callback."""
    # One of its own: here what the other measurements gave back would be used again.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
        return await asyncio.get_running_loop().run_in_executor(fresh, _grown, store)


def _grown(store: Store) -> int:
    async def measure() -> int:
        async with store.fresh() as backend:
            return await _memory_of_live_runs(backend)

    return asyncio.run(measure())


async def _memory_of_live_runs(backend: Backend) -> int:
    wf = _waiting(backend)
    process = psutil.Process()
    async with wf.running():
        await _trigger(wf, "warm", 500)
        gc.collect()
        before = process.memory_info().rss
        await _trigger(wf, "live", LIVE)
        gc.collect()
        return int(process.memory_info().rss) - int(before)


def _waiting(backend: Backend) -> Workflow[Counter, Waiting]:
    builder = Builder("waiting", Counter, Waiting)

    @builder.callback(Waiting.FOR_AN_ANSWER)
    async def answer(run: Run[Counter, Waiting], payload: bytes) -> Literal[Waiting.ANSWERED]:
        return Waiting.ANSWERED

    return builder.build(backend)


async def _trigger(wf: Workflow[Counter, Waiting], name: str, runs: int) -> None:
    for start in range(0, runs, 500):
        await asyncio.gather(*(wf.trigger(f"{name}{number}") for number in range(start, min(start + 500, runs))))
