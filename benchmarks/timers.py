"""Timers that are armed beside a flood of triggers, and then are due all at once.

Figures of one run stand in one line, and their ratios are what to compare: timers armed to runs triggered meanwhile,
and timers fired to runs triggered.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from benchmarks.five_steps import Counter
from workflow import Builder, Options, Run
from workflow.protocols import Backend
from workflow.testing import FakeClock

FLOOD = 1_000
"""Triggers, timer functions and handlers under way at once."""
DUE_IN = timedelta(hours=1)


class Timed(IntEnum):
    WAITING = 1
    FIRED = 2


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second: runs triggered, timers armed (from the first trigger to the last timer), timers fired."""

    triggered: float
    armed: float
    fired: float


async def timers(backend: Backend, runs: int) -> Rates:
    """Trigger runs with a timer each as fast as they go; when all are armed let all be due, and time that too."""
    clock = FakeClock()
    armed, fired = _Countdown(runs), _Countdown(runs)
    builder = Builder("timers", Counter, Timed)

    async def due(run: Run[Counter, Timed], now: datetime) -> datetime:
        armed.tick()
        return now + DUE_IN

    @builder.timeout(Timed.WAITING, due, to=Timed.FIRED)
    async def fire(run: Run[Counter, Timed], now: datetime) -> Timed:
        fired.tick()
        return Timed.FIRED

    wf = builder.build(backend, clock=clock, default_options=Options(max_in_flight=FLOOD))
    numbers = iter(range(runs))

    async def keep_triggering() -> None:
        for number in numbers:
            await wf.trigger(f"f{number}")

    async with wf.running():
        began = time.perf_counter()
        await asyncio.gather(*(keep_triggering() for _ in range(FLOOD)))
        triggering = time.perf_counter() - began
        # The last timers are being written when the last function has been asked: one batch of many.
        await armed.done.wait()
        arming = time.perf_counter() - began
        await asyncio.sleep(1.0)
        clock.advance(DUE_IN)
        began = time.perf_counter()
        await fired.done.wait()
        firing = time.perf_counter() - began
    return Rates(runs / triggering, runs / arming, runs / firing)


class _Countdown:
    def __init__(self, left: int) -> None:
        self._left, self.done = left, asyncio.Event()

    def tick(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.done.set()
