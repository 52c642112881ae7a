"""A timer that is claimed twice, because its first claimer was slow, is applied once."""

from datetime import datetime, timedelta
from enum import IntEnum

import msgspec

from workflow import Builder, Run
from workflow._model.timer import TimeoutRecord
from workflow._processes.timeouts_fire import TimeoutPoller
from workflow_adapters.memory import MemoryBackend


class Status(IntEnum):
    WAITING = 1
    DONE = 2


class Thing(msgspec.Struct):
    fired: int = 0


async def test_a_timer_whose_second_claim_was_faster_is_not_applied_again() -> None:
    builder: Builder[Thing, Status] = Builder("claimed", Thing, Status)
    calls = 0

    async def fire(run: Run[Thing, Status], now: datetime) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            # So slow that the claim has run out: the run is moved within its visit, another process claims the timer,
            # and is done before this one.
            await wf.pause(run.run_id)
            await wf.resume(run.run_id)
            present = (await engine.records.lookup([run.run_id]))[run.run_id]
            await poller._settle(msgspec.structs.replace(timer, claims=2), present, "another")
        run.object.fired += 1
        return run.save_and_repeat()

    builder.timeout(Status.WAITING, timedelta(hours=1), to=Status.DONE)(fire)  # type: ignore[arg-type]
    async with MemoryBackend() as backend:
        wf = builder.build(backend)
        engine = wf._engine
        poller = TimeoutPoller(engine)
        run_id = await wf.trigger("customer")
        record = (await engine.records.lookup([run_id]))[run_id]
        timer = TimeoutRecord(
            id=f"{run_id}/1/0",
            workflow_name=wf.name,
            foreign_id="customer",
            run_id=run_id,
            status=Status.WAITING,
            visit=1,
            timer=0,
            expire_at=record.created_at,
            due_at=record.created_at,
            created_at=record.created_at,
            claims=1,
        )
        await engine.timeouts.create([timer])
        await poller._settle(timer, record, "first")
        run = await wf.get(run_id)
        assert (run.object.fired, run.version, calls) == (1, 4, 2)
