"""Schedules that read alike are schedules of their own."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, BuildError, Run
from workflow.testing import FakeClock
from workflow_adapters.memory import MemoryBackend

ALIKE = [
    # The same words, in another zone: seven hours later.
    (("report", "0 8 * * *", "UTC"), ("report", "0 8 * * *", "America/Denver")),
    (("A b", "0 8 * * *", "UTC"), ("a_b", "0 8 * * *", "UTC")),
]


def schedules_of(builder: Builder[Thing, Status]) -> None:
    @builder.step(Status.A)
    async def done(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B


async def run_for_a_day(
    builder: Builder[Thing, Status], called: list[tuple[str, str, str]], expected: list[datetime]
) -> None:
    """Advance hour by hour; each run must be there, with its time, before the clock goes on."""
    clock = FakeClock()
    async with MemoryBackend() as backend:
        wf = builder.build(backend, clock=clock)
        async with wf.running():
            tasks = [asyncio.ensure_future(wf.schedule(fid, spec, timezone=zone)) for fid, spec, zone in called]
            await asyncio.sleep(0)  # each call has begun, and knows what time it is
            for _ in range(24):
                clock.advance(timedelta(hours=1))
                due = [moment for moment in expected if moment <= clock.now()]
                while sorted(run.created_at for run in await wf.list()) != due:
                    await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("pair", ALIKE, ids=["zones", "foreign IDs"])
async def test_both_of_two_that_read_alike_fire_and_stop(pair: tuple[tuple[str, str, str], ...]) -> None:
    """W-41."""
    expected = [datetime(2025, 1, 1, 8, tzinfo=UTC), datetime(2025, 1, 1, 8 + 7 * ("Denver" in pair[1][2]), tzinfo=UTC)]
    async with asyncio.timeout(PATIENCE.total_seconds()):
        builder = Builder("declared", Thing, Status)
        schedules_of(builder)
        for fid, spec, zone in pair:
            builder.schedule(fid, spec, timezone=zone)
        await run_for_a_day(builder, [], expected)

        builder = Builder("called", Thing, Status)
        schedules_of(builder)
        await run_for_a_day(builder, list(pair), expected)


def test_the_same_schedule_twice_is_a_build_error() -> None:
    builder = Builder("twice", Thing, Status)
    schedules_of(builder)
    for _ in range(2):
        builder.schedule("report", "@daily")
    with pytest.raises(BuildError, match=r"'report', '@daily'.* already exists in UTC"):
        builder.build(MemoryBackend())
