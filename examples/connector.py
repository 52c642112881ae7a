"""Events of another system start runs."""

import asyncio
from datetime import UTC, datetime, timedelta
from enum import IntEnum

import msgspec

from workflow import Builder, ConnectorEvent, Run, Workflow
from workflow_adapters.memory import MemoryBackend, MemoryConnector


class Status(IntEnum):
    IMPORTED = 1
    WELCOMED = 2


class User(msgspec.Struct):
    uid: str = ""
    welcomed: bool = False


builder = Builder("import users", User, Status)
source = MemoryConnector(
    [ConnectorEvent(id=str(number), foreign_id=f"user-{number}", created_at=datetime.now(UTC)) for number in (1, 2)]
)


@builder.connector("user events", source)
async def start(wf: Workflow[User, Status], event: ConnectorEvent) -> None:
    # The event's id makes the trigger idempotent: an event delivered twice starts one run.
    await wf.trigger(event.foreign_id, User(uid=event.id), run_id=f"user-event-{event.id}")


@builder.step(Status.IMPORTED, to=Status.WELCOMED)
async def welcome(run: Run[User, Status]) -> Status:
    run.object.welcomed = True
    return Status.WELCOMED


async def main() -> list[User]:
    async with MemoryBackend() as backend:
        wf = builder.build(backend)
        async with wf.running():
            runs = [
                await wf.wait_for(f"user-{number}", Status.WELCOMED, timeout=timedelta(seconds=5)) for number in (1, 2)
            ]
            return [run.object for run in runs]


if __name__ == "__main__":
    print(asyncio.run(main()))
