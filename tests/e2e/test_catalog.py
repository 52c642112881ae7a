"""The catalog: a running workflow tells every reader of its backend what it is."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

import msgspec

from tests.e2e.model import Status, Thing
from workflow import Builder, Options, Run
from workflow.protocols import Backend, PublishedWorkflow
from workflow_adapters.conformance import Factory


def shop(*, parallel_count: int = 1) -> Builder[Thing, Status]:
    builder = Builder("shop", Thing, Status)

    @builder.step(Status.A, options=Options(parallel_count=parallel_count))
    async def work(run: Run[Thing, Status]) -> Literal[Status.B, Status.C]:
        return Status.B

    @builder.callback(Status.B)
    async def answer(run: Run[Thing, Status], payload: bytes) -> Literal[Status.C]:
        return Status.C

    @builder.on_complete
    async def told(run: Run[Thing, Status]) -> None:
        return None

    builder.schedule("nightly", "@daily", timezone="Europe/London")
    return builder


async def published(backend: Backend, count: int) -> Sequence[PublishedWorkflow]:
    """The catalog once it has so many definitions."""
    async with asyncio.timeout(20):
        while len(found := await backend.record_store.workflows()) < count:
            await asyncio.sleep(0.005)
    return found


async def test_a_workflow_is_in_the_catalog_once_it_runs_and_stays_there(backend: Backend) -> None:
    wf = shop().build(backend)
    assert await backend.record_store.workflows() == []
    async with wf.running():
        (running,) = await published(backend, 1)
    (stopped,) = await backend.record_store.workflows()
    assert stopped.info == running.info
    info = running.info
    assert (info.name, info.starting_points, info.edges) == ("shop", (1,), ((1, 2), (1, 3), (2, 3)))
    assert [(s.number, s.name, s.step, s.callbacks, s.terminal) for s in info.statuses] == [
        (1, "A", True, 0, False),
        (2, "B", False, 1, False),
        (3, "C", False, 0, True),
        (4, "D", False, 0, False),
    ]
    assert info.hooks == ("Completed",)
    assert [(s.foreign_id, s.spec, s.timezone) for s in info.schedules] == [("nightly", "@daily", "Europe/London")]
    assert msgspec.json.decode(info.object_schema)["$defs"]["Thing"]["properties"].keys() == {"count", "text"}
    assert running.first_at <= running.last_at


async def test_two_releases_stand_side_by_side_and_one_definition_once(factory: Factory) -> None:
    async with factory.backend() as backend:
        for parallel_count in (1, 1, 2):
            wf = shop(parallel_count=parallel_count).build(backend)
            async with wf.running():
                await published(backend, parallel_count)
        found = await backend.record_store.workflows()
    assert [one.info.name for one in found] == ["shop", "shop"]
    assert len({one.info.fingerprint for one in found}) == 2
    assert {one.info.statuses[0].parallel_count for one in found} == {1, 2}
    assert found[0].last_at - found[1].last_at < timedelta(minutes=10)
