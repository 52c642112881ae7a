"""Names that read alike must not get into each other's way."""

import asyncio
from datetime import timedelta
from typing import Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, BuildError, Run
from workflow.protocols import Backend
from workflow_adapters.memory import MemoryBackend


def scheduled() -> Builder[Thing, Status]:
    builder = Builder("scheduled", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    return builder


async def test_schedules_that_read_alike_are_processes_of_their_own_and_all_stop(backend: Backend) -> None:
    """Alike but for the time zone, or for what a process name does not show; and one asked for twice."""
    builder = scheduled()
    builder.schedule("a b", "@monthly")
    builder.schedule("a b", "@monthly", timezone="Asia/Tokyo")
    builder.schedule("A_B", "@monthly")
    wf = builder.build(backend)
    async with wf.running():
        assert sum("scheduler" in name for name in wf.states()) == 3
        calls = [asyncio.ensure_future(wf.schedule("a b", "@monthly", timezone=zone)) for zone in ("UTC", "Asia/Seoul")]
        while sum("scheduler" in name for name in wf.states()) < 4:
            await asyncio.sleep(0.01)
        async with asyncio.timeout(PATIENCE.total_seconds()):
            await wf.stop(timedelta(0))
            await asyncio.gather(*calls)
    assert {str(state) for state in wf.states().values()} == {"Shutdown"}


def test_an_initial_value_that_cannot_be_stored_is_a_problem_of_the_declaration() -> None:
    builder = scheduled()
    builder.schedule("key", "@daily", initial_value="no thing")  # type: ignore[arg-type]
    with pytest.raises(BuildError, match="Thing"):
        builder.build(MemoryBackend())
