"""What the end-to-end tests share: four statuses, a small object, and a workflow whose runs wait."""

from datetime import timedelta
from enum import IntEnum
from typing import Literal

import msgspec

from workflow import Builder, Run

PATIENCE = timedelta(seconds=20)


class Status(IntEnum):
    A = 1
    B = 2
    C = 3
    D = 4


class Thing(msgspec.Struct):
    count: int = 0
    text: str = ""


def waiting(name: str) -> Builder[Thing, Status]:
    """A workflow whose runs wait at A for a callback to B."""
    builder = Builder(name, Thing, Status)

    @builder.callback(Status.A)
    async def go(run: Run[Thing, Status], payload: bytes) -> Literal[Status.B]:
        run.object.text = payload.decode()
        return Status.B

    return builder


def chain(name: str = "chain") -> Builder[Thing, Status]:
    """Each status waits for a callback, which says in its payload what becomes of the run; C and D are terminal."""
    builder = Builder(name, Thing, Status)

    @builder.callback(Status.A)
    async def first(run: Run[Thing, Status], payload: bytes) -> Literal[Status.B, Status.D]:
        return Status.D if payload == b"D" else Status.B

    @builder.callback(Status.B)
    async def second(run: Run[Thing, Status], payload: bytes) -> Literal[Status.A, Status.C]:
        return Status.A if payload == b"A" else Status.C

    return builder
