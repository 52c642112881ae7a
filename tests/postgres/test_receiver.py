"""Where a reading begins: what the tail handed over meanwhile, and what it went past."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from workflow_adapters.conformance._values import created
from workflow_adapters.postgres.connections import Lane
from workflow_adapters.postgres.receiver import PostgresReceiver
from workflow_adapters.postgres.rows import encode_event


class Log:
    """A table of events of one partition, at positions 1, 2, 3 …"""

    def __init__(self, *runs: str) -> None:
        self.events = [created(run).event for run in runs]

    async def fetch(self, sql: str, topic: str, places: list[int], after: list[int], limit: int) -> Sequence[Any]:
        return [(place, 0, encode_event(one)) for place, one in enumerate(self.events, start=1) if place > after[0]]


async def test_what_the_tail_went_past_before_the_start_is_read_although_later_events_lie_aside() -> None:
    """The positions were looked up before both were sent, so nothing else says that there is something to catch up."""
    log = Log("missed", "aside")
    receiver = PostgresReceiver("topic", "name", cast("Lane", log), "", {}, asyncio.Event())
    receiver.miss()
    receiver.hand(msgspec.structs.replace(log.events[1], partition=0, position=2))
    receiver.start({0: 0}, behind=False)
    async with asyncio.timeout(5):
        assert [one.run_id for one in await receiver.receive(10)] == ["missed", "aside"]
