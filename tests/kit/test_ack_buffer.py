"""Acknowledgements on their way to the store."""

import asyncio
import logging
from collections.abc import Mapping

import msgspec
import pytest

from workflow.errors import Unavailable
from workflow.protocols import Event
from workflow_adapters.conformance._values import created, until
from workflow_adapters.kit.ack_buffer import AckBuffer, Cursor

_LOG = logging.getLogger("workflow.tests")


class Cursors:
    """The cursors of a store, which can be unreachable."""

    def __init__(self) -> None:
        self.positions: dict[Cursor, int] = {}
        self.writes = 0
        self.reachable = True
        self.gate = asyncio.Event()
        self.gate.set()

    async def write(self, positions: Mapping[Cursor, int]) -> None:
        await self.gate.wait()
        if not self.reachable:
            raise Unavailable("the test cut the connection")
        self.writes += 1
        for cursor, position in positions.items():
            self.positions[cursor] = max(position, self.positions.get(cursor, 0))


def at(partition: int, position: int) -> Event:
    return msgspec.structs.replace(created("run").event, partition=partition, position=position)


async def test_acknowledgements_of_all_consumers_are_written_together_and_soon() -> None:
    cursors = Cursors()
    acks = AckBuffer(cursors.write, _LOG)
    acks.acked("topic", "one", [at(0, 1), at(1, 2), at(0, 3)])
    acks.acked("topic", "two", [at(0, 5)])
    acks.acked("topic", "one", [at(0, 2)])
    assert cursors.writes == 0

    async def written() -> bool:
        return cursors.writes == 1

    async with asyncio.timeout(5):
        await until(written)
    assert cursors.positions == {("topic", "one", 0): 3, ("topic", "one", 1): 2, ("topic", "two", 0): 5}
    await acks.close()
    assert cursors.writes == 1


async def test_a_flush_waits_for_the_one_that_is_under_way() -> None:
    """A receiver that opens reads the cursor afterwards."""
    cursors = Cursors()
    acks = AckBuffer(cursors.write, _LOG)
    cursors.gate.clear()
    acks.acked("topic", "one", [at(0, 1)])
    first = asyncio.ensure_future(acks.flush())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(acks.flush())
    await asyncio.sleep(0)
    assert not second.done()
    cursors.gate.set()
    assert await first
    assert await second
    assert cursors.writes == 1


async def test_what_could_not_be_written_waits_and_is_not_moved_back(caplog: pytest.LogCaptureFixture) -> None:
    cursors = Cursors()
    acks = AckBuffer(cursors.write, _LOG)
    cursors.reachable = False
    cursors.gate.clear()
    acks.acked("topic", "one", [at(0, 7)])
    flush = asyncio.ensure_future(acks.flush())
    await asyncio.sleep(0)
    acks.acked("topic", "one", [at(0, 9), at(1, 1)])
    cursors.gate.set()
    assert not await flush
    assert "acknowledgements wait: Unavailable: the test cut the connection" in caplog.text
    cursors.reachable = True
    assert await acks.flush()
    assert cursors.positions == {("topic", "one", 0): 9, ("topic", "one", 1): 1}
    await acks.close()


async def test_what_is_lost_at_the_end_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    cursors = Cursors()
    acks = AckBuffer(cursors.write, _LOG)
    acks.acked("topic", "one", [at(0, 7)])
    cursors.reachable = False
    await acks.close()
    assert "their events come again" in caplog.text


async def test_a_cancelled_flush_loses_nothing() -> None:
    cursors = Cursors()
    acks = AckBuffer(cursors.write, _LOG)
    cursors.gate.clear()
    acks.acked("topic", "one", [at(0, 7)])
    flush = asyncio.ensure_future(acks.flush())
    await asyncio.sleep(0)
    flush.cancel()
    await asyncio.gather(flush, return_exceptions=True)
    cursors.gate.set()
    await acks.close()
    assert cursors.positions == {("topic", "one", 0): 7}
