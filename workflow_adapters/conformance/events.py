# ruff: noqa: D103, PT017 - the name of a case is its sentence; the kit knows no pytest
"""Cases for `EventStreamer` and its receivers: what is sent, what one opening receives, shards, passing readers.

`cursors` holds what stays between openings: acknowledgements, redelivery, lag.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import msgspec

from workflow.errors import EventsRefused
from workflow.protocols import WHOLE, Event, EventStreamer, RunState, Shard, partition_of

from ._kit import Capability, Subject, cases_of
from ._values import NOW, SECOND, WORKFLOW, cancelled, gathered, stays_pending

case = cases_of("events")

TOPIC = "conformance_kit-1"


def some(count: int, *, topic: str = TOPIC, run_id: str = "", start: int = 0) -> list[Event]:
    """So many events, of one run or each of its own, told apart by their versions."""
    return [
        Event(
            topic=topic,
            workflow_name=WORKFLOW,
            run_id=run_id or f"run {number}",
            foreign_id="é\n\x7f",
            status=1,
            run_state=RunState.RUNNING,
            version=number + 1,
            created_at=NOW + number * SECOND,
        )
        for number in range(start, start + count)
    ]


def versions(events: Sequence[Event]) -> list[int]:
    """What tells these events apart, sorted."""
    return sorted(event.version for event in events)


def by_partition(events: Sequence[Event]) -> dict[int, list[int]]:
    """The versions in the order they came, for each partition."""
    found: dict[int, list[int]] = {}
    for event in events:
        found.setdefault(event.partition, []).append(event.version)
    return found


@case("R-STREAM-1", "R-STREAM-2")
async def an_event_arrives_in_every_field(subject: Subject) -> None:
    (plain,) = some(1)
    sent = [plain, msgspec.structs.replace(plain, version=2, consumer="hook é", attempt=9, run_state=RunState.PAUSED)]
    await subject.events.send(sent)
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
        got = await gathered(receiver, 2)
    for event, original in zip(got, sent, strict=True):
        assert msgspec.structs.replace(event, partition=0, position=0) == original


@case("R-STREAM-3", "contract: send")
async def an_event_goes_to_the_partition_of_its_run_and_positions_rise(subject: Subject) -> None:
    count = subject.events.partitions(TOPIC)
    assert count >= 1
    sent = [event for number in range(40) for event in some(3, run_id=f"run {number}", start=3 * number)]
    await subject.events.send(sent[:60])
    await subject.events.send(sent[60:])
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
        got = await gathered(receiver, len(sent))
    positions: dict[int, list[int]] = {}
    for event in got:
        assert event.partition == partition_of(event.run_id, count), event
        positions.setdefault(event.partition, []).append(event.position)
    assert all(seen == sorted(set(seen)) for seen in positions.values()), "rising, each once"
    wanted: dict[int, list[int]] = {}
    for event in sent:
        wanted.setdefault(partition_of(event.run_id, count), []).append(event.version)
    assert by_partition(got) == wanted, "events of one partition keep their order"


@case("contract: send")
async def many_topics_are_sent_at_once_and_each_is_its_own(subject: Subject) -> None:
    topics = [f"topic-{number}" for number in range(5)]
    await subject.events.send([some(1, topic=topics[number % 5], start=number)[0] for number in range(25)])
    await subject.events.send([])
    for place, topic in enumerate(topics):
        async with subject.events.receiver(topic, "reader", shard=WHOLE) as receiver:
            got = await gathered(receiver, 5)
        assert {event.topic for event in got} == {topic}
        assert versions(got) == [number + 1 for number in range(25) if number % 5 == place]


@case("contract: receive")
async def a_receiver_gives_at_most_so_many_events_and_each_once(subject: Subject) -> None:
    await subject.events.send(some(25))
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
        got = await gathered(receiver, 25, limit=4)
        assert versions(got) == list(range(1, 26))
        waiting = asyncio.ensure_future(receiver.receive(100))
        await stays_pending(waiting, "received again in one opening, although nothing new was sent")
        await cancelled(waiting)


@case("R-STREAM-2", "W-33")
async def a_receiver_waits_until_there_is_an_event(subject: Subject) -> None:
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
        for number in range(5):
            waiting = asyncio.ensure_future(receiver.receive(10))
            await asyncio.sleep(0)
            await subject.events.send(some(1, start=number))
            assert versions(await waiting) == [number + 1]


@case("contract: receive", needs=[Capability.SECOND_INSTANCE])
async def a_receiver_gets_what_another_process_sends(subject: Subject) -> None:
    there = (await subject.another()).event_streamer
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
        for number in range(5):
            waiting = asyncio.ensure_future(receiver.receive(10))
            await asyncio.sleep(0)
            await there.send(some(1, start=number))
            assert versions(await waiting) == [number + 1]


@case("contract: receive", needs=[Capability.SECOND_INSTANCE])
async def nothing_is_lost_when_many_processes_send_at_once(subject: Subject) -> None:
    there = (await subject.another()).event_streamer

    async def send(streamer: EventStreamer, start: int) -> None:
        for number in range(start, start + 40):
            await streamer.send(some(1, start=number))

    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
        sending = [asyncio.ensure_future(send(subject.events if n % 2 else there, 40 * n)) for n in range(6)]
        got = await gathered(receiver, 240, limit=7)
        await asyncio.gather(*sending)
    assert versions(got) == list(range(1, 241))


@case("contract: receive", "R-ROLESCHED-1")
async def a_cancelled_receive_loses_nothing(subject: Subject) -> None:
    got: list[Event] = []
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
        for number in range(30):
            waiting = asyncio.ensure_future(receiver.receive(10))
            for _ in range(number % 6):
                await asyncio.sleep(0)
            sending = asyncio.ensure_future(subject.events.send(some(1, start=number)))
            for _ in range(number // 6):
                await asyncio.sleep(0)
            got.extend(await cancelled(waiting) or ())
            await sending
        while len(got) < 30:
            got.extend(await receiver.receive(10))
    assert versions(got) == list(range(1, 31))


@case("design 4.12: shards", "W-2b", "R-SUITE-GAP")
async def shards_share_the_topic_with_nothing_lost_and_nothing_twice(subject: Subject) -> None:
    sent = some(60)
    await subject.events.send(sent)
    for total in [total for total in (1, 2, 3, 5) if total <= subject.events.partitions(TOPIC)]:
        seen: list[Event] = []
        for index in range(1, total + 1):
            shard = Shard(index, total)
            wanted = [
                event for event in sent if shard.owns(partition_of(event.run_id, subject.events.partitions(TOPIC)))
            ]
            async with subject.events.receiver(TOPIC, f"of {total}", shard=shard) as receiver:
                got = await gathered(receiver, len(wanted))
            assert versions(got) == versions(wanted), f"shard {shard}"
            seen.extend(got)
        assert versions(seen) == versions(sent), f"{total} shards"


@case("design 4.12: shards", "W-38")
async def shards_that_are_open_together_each_receive_their_own(subject: Subject) -> None:
    total = min(3, subject.events.partitions(TOPIC))
    sent = some(90)
    async with AsyncExitStack() as stack:
        shards = [Shard(index, total) for index in range(1, total + 1)]
        receivers = [
            await stack.enter_async_context(subject.events.receiver(TOPIC, "reader", shard=shard)) for shard in shards
        ]
        await subject.events.send(sent)
        owners = [
            [event for event in sent if shard.owns(partition_of(event.run_id, subject.events.partitions(TOPIC)))]
            for shard in shards
        ]
        got = await asyncio.gather(
            *(gathered(receiver, len(wanted)) for receiver, wanted in zip(receivers, owners, strict=True))
        )
    assert [versions(events) for events in got] == [versions(wanted) for wanted in owners]


@case("R-STREAM-2", "R-SUITE-GAP")
async def two_names_both_get_every_event(subject: Subject) -> None:
    async with (
        subject.events.receiver(TOPIC, "one", shard=WHOLE) as one,
        subject.events.receiver(TOPIC, "two", shard=WHOLE) as two,
    ):
        await subject.events.send(some(20))
        got = await asyncio.gather(gathered(one, 20), gathered(two, 20))
        assert [versions(events) for events in got] == [list(range(1, 21))] * 2
        await one.ack(got[0])
    async with subject.events.receiver(TOPIC, "two", shard=WHOLE) as two:
        assert versions(await gathered(two, 20)) == list(range(1, 21)), "what one acknowledged, two did not"


@case("R-STREAM-4")
async def a_name_new_to_the_topic_starts_at_the_earliest_event(subject: Subject) -> None:
    await subject.events.send(some(5))
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
        await subject.events.send(some(5, start=5))
        assert versions(await gathered(receiver, 10)) == list(range(1, 11))


@case("R-STREAM-4", "R-SUITE-ES-1")
async def from_latest_begins_after_what_was_sent_before_the_opening(subject: Subject) -> None:
    await subject.events.send(some(8))
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE, from_latest=True) as receiver:
        # sent after the context was entered and before anything was asked for: it counts as new
        await subject.events.send(some(8, start=8))
        assert versions(await gathered(receiver, 8)) == list(range(9, 17))


@case("design 4.13: passing readers", "W-41", "R-STREAM-4")
async def passing_readers_share_nothing_and_start_at_the_latest(subject: Subject) -> None:
    await subject.events.send(some(3))
    async with (
        subject.events.receiver(TOPIC, "", shard=WHOLE) as one,
        subject.events.receiver(TOPIC, "", shard=WHOLE) as two,
    ):
        await subject.events.send(some(8, start=3))
        got = await asyncio.gather(gathered(one, 8), gathered(two, 8))
        assert [versions(events) for events in got] == [list(range(4, 12))] * 2
        await one.ack(got[0])
    await subject.events.send(some(4, start=11))
    async with subject.events.receiver(TOPIC, "", shard=WHOLE) as later:
        await subject.events.send(some(2, start=15))
        assert versions(await gathered(later, 2)) == [16, 17], "no cursor was kept"


@case("contract: EventsRefused", needs=[Capability.REFUSED_EVENTS])
async def an_event_that_is_refused_keeps_none_of_the_others_back(subject: Subject) -> None:
    good = some(6)
    bad = subject.factory.refused_event(TOPIC)
    batch = [*good[:2], bad, *good[2:4], bad, *good[4:]]
    try:
        await subject.events.send(batch)
    except EventsRefused as error:
        assert error.indexes == (2, 5), error.indexes
    else:
        raise AssertionError("the event was not refused")
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
        assert versions(await gathered(receiver, 6)) == versions(good)
