"""Parts of different backends work together, however they are opened."""

from contextlib import AsyncExitStack

import pytest

from tests.e2e.model import PATIENCE, Status, waiting
from workflow import BackendNotOpen
from workflow.protocols import Backend
from workflow_adapters.conformance import Factory
from workflow_adapters.memory import MemoryBackend


async def works(backend: Backend, key: str) -> None:
    wf = waiting("mixed").build(backend)
    async with wf.running():
        run_id = await wf.trigger(key)
        await wf.callback(key, Status.A)
        assert (await wf.wait_for(key, Status.B, timeout=PATIENCE)).run_id == run_id


@pytest.mark.backends("sqlite", "postgres")
@pytest.mark.parametrize("opened", ["by itself", "before", "again"])
async def test_records_of_one_backend_go_with_the_stream_of_another(factory: Factory, opened: str) -> None:
    ready, memory = factory.backend(), MemoryBackend()
    mixed = Backend(ready.record_store, memory.event_streamer, ready.role_scheduler, ready.timeout_store)
    async with AsyncExitStack() as stack:
        if opened == "before":
            await stack.enter_async_context(ready)
        if opened == "again":
            async with mixed:
                await works(mixed, "first")
        async with mixed:
            await works(mixed, "key")
        if opened == "before":
            await works(ready, "of its own")
        else:
            with pytest.raises(BackendNotOpen):
                await waiting("mixed").build(mixed).latest("key")


async def test_a_backend_is_entered_once_at_a_time() -> None:
    backend = MemoryBackend()
    async with backend:
        with pytest.raises(RuntimeError, match="entered already"):
            await backend.__aenter__()
    async with backend:
        await works(backend, "key")
