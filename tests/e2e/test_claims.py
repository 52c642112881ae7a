"""A timer in hand belongs to the process that handles it, for as long as that takes."""

import asyncio
from datetime import datetime, timedelta
from typing import Literal

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, Run
from workflow.protocols import Backend
from workflow.testing import FakeClock, await_timeout_insert


async def test_a_timer_whose_handler_outlasts_its_claim_is_not_started_again(backend: Backend) -> None:
    clock = FakeClock()
    builder = Builder("claims", Thing, Status)
    started: list[str] = []
    release = asyncio.Event()

    @builder.timeout(Status.A, timedelta(hours=1))
    async def slow(run: Run[Thing, Status], now: datetime) -> Literal[Status.B]:
        started.append(run.foreign_id)
        if run.foreign_id == "long":
            await release.wait()
        return Status.B

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        long = await wf.trigger("long")
        await await_timeout_insert(wf, "long", long, Status.A, timeout=PATIENCE)
        clock.advance(timedelta(hours=1))
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while not started:
                await asyncio.sleep(0.01)
        for number in range(3):
            # Past the claim; what became due meanwhile shows that the poller has looked.
            later = await wf.trigger(f"later-{number}")
            await await_timeout_insert(wf, f"later-{number}", later, Status.A, timeout=PATIENCE)
            clock.advance(timedelta(hours=1))
            await wf.wait_for(f"later-{number}", Status.B, run_id=later, timeout=PATIENCE)
        assert started.count("long") == 1
        release.set()
        run = await wf.wait_for("long", Status.B, run_id=long, timeout=PATIENCE)
        assert run.version == 2
