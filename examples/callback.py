"""A run waits until somebody outside confirms."""

import asyncio
from datetime import timedelta
from enum import IntEnum
from typing import Literal

import msgspec

from workflow import Builder, Decision, Run
from workflow.testing import trigger_callback_on
from workflow_adapters.memory import MemoryBackend


class Status(IntEnum):
    WAITING = 1
    CONFIRMED = 2


class Signup(msgspec.Struct):
    email: str = ""
    confirmed: bool = False


class Confirmation(msgspec.Struct):
    confirmed: bool


builder = Builder("confirmation", Signup, Status)


@builder.callback(Status.WAITING)
async def confirm(run: Run[Signup, Status], payload: Confirmation) -> Literal[Status.CONFIRMED] | Decision:
    if not payload.confirmed:
        return run.skip()
    run.object.confirmed = True
    return Status.CONFIRMED


async def main() -> Signup:
    async with MemoryBackend() as backend:
        wf = builder.build(backend)
        async with wf.running():
            run_id = await wf.trigger("signup-1", Signup(email="someone@example.com"))
            await trigger_callback_on(wf, "signup-1", run_id, Status.WAITING, Confirmation(confirmed=True))
            run = await wf.wait_for("signup-1", Status.CONFIRMED, timeout=timedelta(seconds=5))
            return run.object


if __name__ == "__main__":
    print(asyncio.run(main()))
