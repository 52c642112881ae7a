"""Runs that are in work for some seconds, for tests in which their store goes back in time meanwhile."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from workflow import Builder, Run


class Stage(IntEnum):
    S1 = 1
    S2 = 2
    S3 = 3
    S4 = 4
    S5 = 5
    S6 = 6
    S7 = 7
    S8 = 8
    DONE = 9


@dataclass
class Work:
    seen: int = 0


def declared() -> Builder[Work, Stage]:
    """Steps of up to two seconds, and one status that is left by a timer."""
    builder = Builder("going back", Work, Stage)
    for stage in (Stage.S1, Stage.S2, Stage.S3, Stage.S5, Stage.S6, Stage.S7, Stage.S8):
        builder.step(stage, to=Stage(stage + 1))(_work(Stage(stage + 1)))

    @builder.timeout(Stage.S4, timedelta(seconds=1), to=Stage.S5)
    async def wake(run: Run[Work, Stage], now: datetime) -> Stage:
        return Stage.S5

    return builder


def _work(to: Stage) -> Callable[[Run[Work, Stage]], Awaitable[Stage]]:
    async def work(run: Run[Work, Stage]) -> Stage:
        await asyncio.sleep(random.uniform(0, 2))
        run.object.seen += 1
        return to

    return work
