"""What a workflow costs that has nothing to do: processor time and wake-ups; and what waiting runs take in memory."""

import asyncio
import gc
from enum import IntEnum
from typing import Literal

import psutil

from benchmarks.five_steps import Completions, Counter, declare
from workflow import Builder, Run, Workflow
from workflow.protocols import Backend


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


async def memory_of_live_runs(backend: Backend, runs: int) -> int:
    """Bytes by which this process grew for `runs` runs that wait for a callback."""
    wf = _waiting(backend)
    process = psutil.Process()
    async with wf.running():
        await _trigger(wf, "warm", 500)
        gc.collect()
        before = process.memory_info().rss
        await _trigger(wf, "live", runs)
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
