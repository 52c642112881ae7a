"""An order whose one step takes as long as it is told: what the HTTP examples run."""

import asyncio
from enum import IntEnum
from typing import Literal

import msgspec

from workflow import Builder, Run


class Status(IntEnum):
    PLACED = 1
    SHIPPED = 2


class Order(msgspec.Struct):
    seconds: float = 0.0
    tries: int = 0


builder = Builder("slow orders", Order, Status)


@builder.step(Status.PLACED)
async def ship(run: Run[Order, Status]) -> Literal[Status.SHIPPED]:
    await asyncio.sleep(run.object.seconds)
    run.object.tries += 1
    return Status.SHIPPED
