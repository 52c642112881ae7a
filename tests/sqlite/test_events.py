"""The event streamer of a file: what one opening of the backend leaves to the next."""

import asyncio
from pathlib import Path

from msgspec.structs import replace

from workflow.protocols import WHOLE
from workflow_adapters.conformance._values import created
from workflow_adapters.sqlite import SQLiteBackend

READERS = 20


def test_readers_that_open_at_once_in_one_event_loop_after_another_go_on_where_they_were(tmp_path: Path) -> None:
    """Found in practice: a lock of the first loop, for which tasks had waited, was met in the second."""
    backend = SQLiteBackend(tmp_path / "runs.db")
    stream = backend.event_streamer

    async def read(name: str) -> list[int]:
        async with stream.receiver("topic", name, shard=WHOLE) as receiver:
            events = await receiver.receive(10)
            await receiver.ack(events)
            return [event.version for event in events]

    async def opening(number: int) -> None:
        async with backend:
            await stream.send([replace(created("run").event, topic="topic", version=number)])
            async with asyncio.timeout(10):
                assert await asyncio.gather(*(read(f"reader {n}") for n in range(READERS))) == [[number]] * READERS

    for number in range(1, 4):
        asyncio.run(opening(number))
