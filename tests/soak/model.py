"""The workflow of the soaks: five steps, each a short piece of asynchronous work that changes the object."""

import asyncio
from enum import IntEnum

import msgspec

from workflow import Builder, Options, Run

STEPS = 5
WORK = 0.002
"""Seconds that a step waits for something, as handlers do."""


class Status(IntEnum):
    S1 = 1
    S2 = 2
    S3 = 3
    S4 = 4
    S5 = 5
    DONE = 6


class Work(msgspec.Struct):
    trail: list[int] = []


def declare(name: str = "soak", parallel_count: int = 4, steps: int = STEPS) -> Builder[Work, Status]:
    """The workflow; with fewer steps it begins that much later."""
    builder = Builder(name, Work, Status)
    for number in range(STEPS + 1 - steps, STEPS + 1):
        origin, destination = Status(number), Status(number + 1)

        async def step(run: Run[Work, Status], origin: Status = origin, to: Status = destination) -> Status:
            await asyncio.sleep(WORK)
            run.object.trail.append(origin)
            return to

        builder.step(origin, to=destination, options=Options(parallel_count=parallel_count))(step)
    return builder
