"""What a waiter is shown when the run moves between two of its readings."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Literal

from workflow import Builder, Run
from workflow._record import Record
from workflow.protocols import Backend
from workflow_adapters.memory import (
    MemoryEventStreamer,
    MemoryRecordStore,
    MemoryRoleScheduler,
)


class Status(IntEnum):
    ASKED = 1
    DONE = 2


class Overtaken(MemoryRecordStore):
    """A store in which something happens after a record was read and before its reader has it."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        found = await super().lookup(run_ids)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return found


async def test_a_run_that_arrives_between_two_readings_is_shown_where_it_arrived() -> None:
    builder: Builder[dict[str, int], Status] = Builder("overtaken", dict, Status)

    @builder.callback(Status.ASKED)
    async def answer(run: Run[dict[str, int], Status], payload: bytes) -> Literal[Status.DONE]:
        return Status.DONE

    store = Overtaken()
    wf = builder.build(Backend(store, MemoryEventStreamer(), MemoryRoleScheduler()))
    run_id = await wf.trigger("customer")

    async def arrive() -> None:
        await wf.callback("customer", Status.ASKED, run_id=run_id)

    store.meanwhile = arrive
    run = await wf.wait_for("customer", Status.DONE, run_id=run_id, timeout=timedelta(seconds=10))
    assert (run.status, run.version) == (Status.DONE, 2)
    await wf._engine.waiting.close()
