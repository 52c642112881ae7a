# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for `ConnectorSource`: a foreign stream read under a durable name, by shards."""

import asyncio
from collections.abc import Sequence

import msgspec

from workflow.protocols import WHOLE, ConnectorEvent, ConnectorReceiver, ConnectorSource, Shard

from ._kit import Capability, Subject, cases_of
from ._values import NOW, SECOND, cancelled, stays_pending

case = cases_of("connectors")

HAS = [Capability.CONNECTOR]


def _some(count: int) -> list[ConnectorEvent]:
    return [
        ConnectorEvent(
            id=f"event {number}",
            foreign_id=f"customer {number} é",
            type="signed up",
            headers={"source": "kit", "number": str(number)},
            created_at=NOW + number * SECOND,
            payload=bytes([0, 255, number % 256]),
        )
        for number in range(count)
    ]


async def _gathered(receiver: ConnectorReceiver, count: int, *, limit: int = 100) -> list[ConnectorEvent]:
    events: list[ConnectorEvent] = []
    while len(events) < count:
        batch = await receiver.receive(limit)
        assert 1 <= len(batch) <= limit, f"receive({limit}) gave {len(batch)} events"
        events.extend(batch)
    return events


async def _drained(source: ConnectorSource, name: str, shard: Shard, limit: int = 100) -> list[ConnectorEvent]:
    """Whatever this shard is given until nothing comes for a moment; acknowledged."""
    events: list[ConnectorEvent] = []
    async with source.receiver(name, shard=shard) as receiver:
        while True:
            asking = asyncio.ensure_future(receiver.receive(limit))
            await asyncio.wait({asking}, timeout=0.3)
            batch = await asking if asking.done() else await cancelled(asking)
            if not batch:
                return events
            events.extend(batch)
            await receiver.ack(batch)


def _ids(events: Sequence[ConnectorEvent]) -> list[str]:
    return sorted(event.id for event in events)


@case("R-SUITE-CN-1", "R-CONNAD-1", needs=HAS)
async def a_foreign_event_arrives_in_every_field(subject: Subject) -> None:
    sent = _some(5)
    async with subject.factory.connector(sent).receiver("reader", shard=WHOLE) as receiver:
        got = await _gathered(receiver, 5, limit=2)
    plain = [msgspec.structs.replace(event, partition=0, position=0) for event in got]
    assert sorted(plain, key=lambda event: event.created_at) == sent


@case("R-CONNAD-1", needs=HAS)
async def the_place_in_a_foreign_stream_is_kept_for_each_name(subject: Subject) -> None:
    source = subject.factory.connector(_some(6))
    assert _ids(await _drained(source, "one", WHOLE)) == _ids(_some(6))
    assert _ids(await _drained(source, "two", WHOLE)) == _ids(_some(6))
    async with source.receiver("one", shard=WHOLE) as receiver:
        asking = asyncio.ensure_future(receiver.receive(10))
        await stays_pending(asking, "received although everything is acknowledged")
        await cancelled(asking)


@case("R-CONN-4", needs=HAS)
async def foreign_events_that_were_not_acknowledged_come_again(subject: Subject) -> None:
    source = subject.factory.connector(_some(6))
    async with source.receiver("reader", shard=WHOLE) as receiver:
        first = await _gathered(receiver, 6)
    async with source.receiver("reader", shard=WHOLE) as receiver:
        again = await _gathered(receiver, 6)
        assert [event.id for event in again] == [event.id for event in first], "in the same order"
        await receiver.ack([again[-1]])
    left = [event for event in again if event.partition != again[-1].partition]
    assert _ids(await _drained(source, "reader", WHOLE)) == _ids(left)


@case("R-CONN-3", "W-2b", "design 4.12: shards", needs=HAS)
async def shards_share_a_foreign_stream_with_nothing_lost(subject: Subject) -> None:
    source = subject.factory.connector(_some(60))
    for total in (1, 2, 3):
        seen: list[ConnectorEvent] = []
        for index in range(1, total + 1):
            seen += await _drained(source, f"of {total}", Shard(index, total), limit=7)
        assert _ids(seen) == _ids(_some(60)), f"{total} shards: each event once"


@case("contract: receive", needs=HAS)
async def a_cancelled_receive_of_foreign_events_loses_nothing(subject: Subject) -> None:
    source = subject.factory.connector(_some(20))
    seen: list[ConnectorEvent] = []
    async with source.receiver("reader", shard=WHOLE) as receiver:
        turn = 0
        while len(seen) < 20:
            asking = asyncio.ensure_future(receiver.receive(1))
            for _ in range(turn % 7):
                await asyncio.sleep(0)
            seen += await cancelled(asking) or ()
            if turn % 7 == 6 and len(seen) < 20:
                seen += await receiver.receive(1)
            turn += 1
    assert _ids(seen) == _ids(_some(20))
