"""Publishing the definition: at the start, every minute, and again soon after an error."""

import asyncio
from collections import deque

import pytest

from tests.e2e.virtual import virtually
from tests.unit.engines import engine
from workflow import BackendNotOpen, Unavailable
from workflow._processes.publish import EVERY, RETRY, publish
from workflow.protocols import Backend, WorkflowInfo
from workflow_adapters.memory import MemoryEventStreamer, MemoryRecordStore, MemoryRoleScheduler


class Catalog(MemoryRecordStore):
    """Notes when something is published, by the loop's time; raises what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: deque[Exception] = deque()
        self.told: list[tuple[float, WorkflowInfo]] = []

    async def publish(self, info: WorkflowInfo) -> None:
        self.told.append((asyncio.get_running_loop().time(), info))
        if self.errors:
            raise self.errors.popleft()
        await super().publish(info)

    @property
    def moments(self) -> list[float]:
        return [moment - self.told[0][0] for moment, _ in self.told]


def backend(catalog: Catalog) -> Backend:
    return Backend(catalog, MemoryEventStreamer(), MemoryRoleScheduler(), release="2026.1")


def test_a_definition_is_published_every_minute_until_the_workflow_stops() -> None:
    async def main() -> None:
        catalog = Catalog()
        task = asyncio.ensure_future(publish(engine(backend(catalog))))
        await asyncio.sleep(2.5 * EVERY)
        task.cancel()
        await asyncio.wait([task])
        assert catalog.moments == [0.0, EVERY, 2 * EVERY]
        (published,) = await catalog.workflows()
        assert published.info == catalog.told[0][1]
        assert (published.info.name, published.info.release) == ("unit", "2026.1")
        assert published.info.fingerprint

    virtually(main())


@pytest.mark.parametrize("error", [Unavailable("away"), PermissionError("no right to the catalog")])
@pytest.mark.parametrize("failures", [1, 3])
def test_a_publication_that_failed_is_tried_again_soon(failures: int, error: Exception) -> None:
    async def main() -> None:
        catalog = Catalog()
        catalog.errors += [error] * failures
        task = asyncio.ensure_future(publish(engine(backend(catalog))))
        await asyncio.sleep(failures * RETRY + EVERY / 2)
        task.cancel()
        await asyncio.wait([task])
        assert catalog.moments == [number * RETRY for number in range(failures + 1)]
        assert len(await catalog.workflows()) == 1

    virtually(main())


def test_publishing_ends_when_the_backend_was_left() -> None:
    """The processes of the workflow report it; this one is of no help."""

    async def main() -> None:
        catalog = Catalog()
        catalog.errors.append(BackendNotOpen("left"))
        await publish(engine(backend(catalog)))
        assert catalog.moments == [0.0]

    virtually(main())
