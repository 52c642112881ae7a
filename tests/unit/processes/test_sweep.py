"""The sweeper while the relay is behind: it finds what was lost, and leaves alone what is still to be sent."""

from datetime import timedelta
from enum import IntEnum
from typing import Literal

from workflow import Builder, Run
from workflow._processes.lease_term import LeaseTerm
from workflow._processes.sweep import _Sweeper
from workflow.testing import FakeClock
from workflow_adapters.memory import MemoryBackend, MemoryLease


class Status(IntEnum):
    BEGUN = 1
    DONE = 2


async def test_an_event_that_waits_in_the_outbox_does_not_keep_the_sweeper_from_an_older_run() -> None:
    builder: Builder[dict[str, int], Status] = Builder("swept", dict, Status)

    @builder.step(Status.BEGUN)
    async def finish(run: Run[dict[str, int], Status]) -> Literal[Status.DONE]:
        return Status.DONE

    clock = FakeClock()
    async with MemoryBackend() as backend:
        wf = builder.build(backend, clock=clock, sweep_after=timedelta(minutes=1))
        store = wf._engine.records
        lost = await wf.trigger("lost")
        sent = (await store.list_outbox(wf.name, now=clock.now(), limit=10)).events
        await store.delete_outbox([one.id for one in sent])
        clock.advance(timedelta(minutes=5))
        unsent = await wf.trigger("unsent")
        clock.advance(timedelta(minutes=5))

        await _Sweeper(wf._engine, "sweep")._sweep(LeaseTerm(MemoryLease(1, False), 1.0))

        waiting = (await store.list_outbox(wf.name, now=clock.now(), limit=10)).events
        assert [one.event.run_id for one in waiting] == [unsent, lost]
