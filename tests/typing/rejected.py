"""Never run: each line marked with an error must be rejected by mypy --strict and by pyright."""

from datetime import datetime, timedelta
from enum import IntEnum
from typing import Literal

from workflow import Builder, Run
from workflow_adapters.memory import MemoryBackend


class Status(IntEnum):
    A = 1
    B = 2
    C = 3


class Other(IntEnum):
    A = 1


class Cart:
    total: int = 0


class Basket:
    pass


builder = Builder("cart", Cart, Status)


@builder.step(Status.A)
async def not_in_the_graph(run: Run[Cart, Status]) -> Literal[Status.B]:
    return Status.C  # error: the annotation allows B only


@builder.step(Other.A)  # error: another enum
async def of_another_enum(run: Run[Cart, Status]) -> Literal[Status.B]:
    return Status.B


@builder.step(Status.B)  # error: another object
async def of_another_object(run: Run[Basket, Status]) -> Literal[Status.C]:
    return Status.C


@builder.step(Status.B)  # error: returns no status
async def of_no_status(run: Run[Cart, Status]) -> str:
    return "C"


@builder.timeout(Status.A, timedelta(hours=1))  # error: a timeout is handed the moment
async def without_the_moment(run: Run[Cart, Status]) -> Literal[Status.B]:
    return Status.B


@builder.timeout(Status.A, 3600)  # error: seconds without a unit
async def after_a_number(run: Run[Cart, Status], now: datetime) -> Literal[Status.B]:
    return Status.B


@builder.step(Status.C)
async def forgotten_return(run: Run[Cart, Status]) -> Literal[Status.B]:  # error: a branch returns nothing
    if run.object.total:
        return Status.B


async def main() -> None:
    wf = builder.build(MemoryBackend())
    await wf.trigger("cart-1", Basket())  # error: another object
    await wf.wait_for("cart-1", Other.A)  # error: another enum
