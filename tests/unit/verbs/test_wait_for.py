"""What a waiter is shown when the run moves between two of its readings."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Literal

import pytest

from workflow import Builder, Run, WaitTimeout
from workflow._model.record import Record
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
        await self._let_it_happen()
        return found

    async def latest(self, workflow_name: str, foreign_id: str) -> Record | None:
        found = await super().latest(workflow_name, foreign_id)
        await self._let_it_happen()
        return found

    async def _let_it_happen(self) -> None:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()


def asking() -> Builder[dict[str, int], Status]:
    builder: Builder[dict[str, int], Status] = Builder("overtaken", dict, Status)

    @builder.callback(Status.ASKED)
    async def answer(run: Run[dict[str, int], Status], payload: bytes) -> Literal[Status.DONE]:
        return Status.DONE

    return builder


async def test_a_run_that_arrives_between_two_readings_is_shown_where_it_arrived() -> None:
    store = Overtaken()
    wf = asking().build(Backend(store, MemoryEventStreamer(), MemoryRoleScheduler()))
    run_id = await wf.trigger("customer")

    async def arrive() -> None:
        await wf.callback("customer", Status.ASKED, run_id=run_id)

    store.meanwhile = arrive
    run = await wf.wait_for("customer", Status.DONE, run_id=run_id, timeout=timedelta(seconds=10))
    assert (run.status, run.version) == (Status.DONE, 2)
    await wf._engine.news.close()


async def test_late_news_of_an_earlier_run_do_not_answer_for_the_latest() -> None:
    """W-17: the event of the run before arrives while the waiter learns which run is the latest."""
    store, stream = Overtaken(), MemoryEventStreamer()
    wf = asking().build(Backend(store, stream, MemoryRoleScheduler()))
    earlier = await wf.trigger("customer")
    await wf.callback("customer", Status.ASKED)
    await wf.trigger("customer")
    ended = (await store.lookup([earlier]))[earlier]

    async def hear_of_the_earlier() -> None:
        await stream.send([wf._engine.transitions.event(ended)])
        (watch,) = wf._engine.news._watches["customer"]
        async with asyncio.timeout(10):
            while not watch._news:
                await asyncio.sleep(0)

    store.meanwhile = hear_of_the_earlier
    with pytest.raises(WaitTimeout):
        await wf.wait_for("customer", Status.DONE, timeout=timedelta(milliseconds=100))
    await wf._engine.news.close()
