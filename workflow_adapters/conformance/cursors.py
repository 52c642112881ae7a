# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for what a stream remembers between openings: acknowledgements, redelivery, lost streams, lag."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import msgspec

from workflow.protocols import WHOLE, Event, EventStreamer, Shard, partition_of

from ._kit import Capability, Subject, cases_of
from ._values import NOW, SECOND, abandoned, cancelled, gathered, oldest_unread, stays_pending, until
from .events import TOPIC, by_partition, some, versions

case = cases_of("events")


async def _read(
    streamer: EventStreamer, count: int, *, ack: Sequence[int] = (), name: str = "reader", shard: Shard = WHOLE
) -> list[Event]:
    """Open, receive so many events, acknowledge those with these versions, close."""
    async with streamer.receiver(TOPIC, name, shard=shard) as receiver:
        got = await gathered(receiver, count)
        await receiver.ack([event for event in got if event.version in ack])
    return got


async def _nothing_left(streamer: EventStreamer, *, name: str = "reader", shard: Shard = WHOLE) -> None:
    async with streamer.receiver(TOPIC, name, shard=shard) as receiver:
        waiting = asyncio.ensure_future(receiver.receive(100))
        await stays_pending(waiting, "received although everything is acknowledged")
        await cancelled(waiting)


def _apart(partitions: int, count: int) -> list[str]:
    """Run IDs of different partitions, as many as there are partitions or `count`."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < min(partitions, count):
        found.setdefault(partition_of(f"run {number}", partitions), f"run {number}")
        number += 1
    return list(found.values())


@case("R-STREAM-3", "R-SUITE-GAP")
async def what_was_not_acknowledged_comes_again_after_reopening(subject: Subject) -> None:
    await subject.events.send(some(10))
    first = await _read(subject.events, 10)
    again = await _read(subject.events, 10)
    assert by_partition(again) == by_partition(first), "in the same order"
    assert sorted(again, key=lambda event: event.version) == sorted(first, key=lambda event: event.version)


@case("R-STREAM-3", "R-SUITE-GAP")
async def what_was_acknowledged_does_not_come_again(subject: Subject) -> None:
    await subject.events.send(some(10))
    await _read(subject.events, 10, ack=range(1, 11))
    await _nothing_left(subject.events)
    await subject.events.send(some(3, start=10))
    assert versions(await _read(subject.events, 3)) == [11, 12, 13]


@case("design 4.4: low-water mark")
async def an_acknowledgement_is_for_the_event_and_all_before_it_in_its_partition(subject: Subject) -> None:
    here, *others = _apart(subject.events.partitions(TOPIC), 2)
    await subject.events.send(some(5, run_id=here))
    for other in others:
        await subject.events.send(some(5, run_id=other, start=10))
    count = 5 + 5 * len(others)
    await _read(subject.events, count, ack=[3])
    left = await _read(subject.events, count - 3)
    rest = list(range(11, 16)) if others else []
    assert versions(left) == [4, 5, *rest], "partitions are acknowledged apart"


@case("design 4.12: the cursor only moves forward")
async def an_older_acknowledgement_does_not_move_the_cursor_back(subject: Subject) -> None:
    await subject.events.send(some(6, run_id="run"))
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
        got = await gathered(receiver, 6)
        await receiver.ack([got[3]])
        await receiver.ack([got[0]])
        await receiver.ack([got[2], got[1]])
        await receiver.ack([])
    assert versions(await _read(subject.events, 2, ack=[5])) == [5, 6]
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
        await receiver.ack([got[1]])
        assert versions(await gathered(receiver, 1)) == [6], "not by a later opening either"
    assert versions(await _read(subject.events, 1)) == [6]


@case("design 4.12: the cursor only moves forward", needs=[Capability.SECOND_INSTANCE])
async def a_reader_left_behind_does_not_move_the_cursor_back(subject: Subject) -> None:
    there = (await subject.another()).event_streamer
    await subject.events.send(some(6, run_id="run"))
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as slow:
        old = await gathered(slow, 6)
        await _read(there, 6, ack=[6])
        await slow.ack([old[1]])
    await _nothing_left(there)


@case("contract: ack")
async def an_acknowledgement_is_written_within_a_moment_without_closing(subject: Subject) -> None:
    await subject.events.send(some(4))
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
        await receiver.ack(await gathered(receiver, 4))

        async def written() -> bool:
            return await oldest_unread(subject.events, TOPIC, "reader") is None

        await until(written)


@case("R-STREAM-4", "R-SUITE-ES-1")
async def from_latest_has_no_effect_on_a_name_with_a_cursor(subject: Subject) -> None:
    await subject.events.send(some(2))
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE, from_latest=True) as receiver:
        await subject.events.send(some(1, run_id="run 0", start=2))
        got = await gathered(receiver, 1)
        assert versions(got) == [3]
        await receiver.ack(got)
    # the same partition, for the cursor belongs to one
    await subject.events.send(some(1, run_id="run 0", start=3))
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE, from_latest=True) as receiver:
        assert versions(await gathered(receiver, 1)) == [4]


@case("design 4.12: cursors belong to partitions", "R-SUITE-GAP")
async def a_cursor_outlives_a_change_of_the_number_of_shards(subject: Subject) -> None:
    total = min(2, subject.events.partitions(TOPIC))
    sent = some(40)
    await subject.events.send(sent)
    for index in range(1, total + 1):
        shard = Shard(index, total)
        own = [event for event in sent if shard.owns(partition_of(event.run_id, subject.events.partitions(TOPIC)))]
        await _read(subject.events, len(own), ack=versions(own), shard=shard)
    more = some(30, start=40)
    await subject.events.send(more)
    seen: list[Event] = []
    total = min(3, subject.events.partitions(TOPIC))
    for index in range(1, total + 1):
        shard = Shard(index, total)
        own = [event for event in more if shard.owns(partition_of(event.run_id, subject.events.partitions(TOPIC)))]
        seen += await _read(subject.events, len(own), shard=shard)
    assert versions(seen) == versions(more), "nothing lost, nothing repeated"


@case("design 4.12: a cursor beyond the end", "design 1: the stream may be lost")
async def a_cursor_beyond_the_end_restarts_at_the_earliest_event(subject: Subject) -> None:
    run_id = "run"
    await subject.events.send(some(3, run_id=run_id))
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
        got = await gathered(receiver, 3)
        # as after the loss of a stream that was longer: the cursor is ahead of everything there is
        await receiver.ack([msgspec.structs.replace(got[-1], position=got[-1].position + 1_000_000)])
    assert versions(await _read(subject.events, 3, ack=[2])) == [1, 2, 3]
    assert versions(await _read(subject.events, 1, ack=[3])) == [3], "from then on the cursor is kept as always"
    await _nothing_left(subject.events)


@case("design 4.12: the cursor belongs to the topic")
async def the_cursor_of_one_topic_says_nothing_about_another(subject: Subject) -> None:
    await subject.events.send(some(3))
    await subject.events.send(some(3, topic="another-topic"))
    await _read(subject.events, 3, ack=[1, 2, 3])
    async with subject.events.receiver("another-topic", "reader", shard=WHOLE) as receiver:
        assert versions(await gathered(receiver, 3)) == [1, 2, 3]


@case("R-STREAM-3", needs=[Capability.REOPENING])
async def events_and_cursors_are_there_after_reopening(subject: Subject) -> None:
    await subject.events.send(some(6, run_id="run"))
    await _read(subject.events, 6, ack=[4])
    partitions = subject.events.partitions(TOPIC)
    await subject.reopen()
    assert subject.events.partitions(TOPIC) == partitions, "the stream keeps the number it was made with"
    assert versions(await _read(subject.events, 2)) == [5, 6]


@case("contract: send", needs=[Capability.REOPENING, Capability.CRASHING])
async def events_that_were_sent_are_there_after_a_crash(subject: Subject) -> None:
    await subject.events.send(some(20))
    await subject.crash(subject.backend)
    await subject.start()
    assert versions(await _read(subject.events, 20)) == list(range(1, 21))


@case("contract: receive", needs=[Capability.CRASHING, Capability.SECOND_INSTANCE])
async def what_a_reader_that_died_had_not_acknowledged_another_receives(subject: Subject) -> None:
    doomed = await subject.another()
    await subject.events.send(some(12))
    received = asyncio.Event()

    async def read() -> None:
        async with doomed.event_streamer.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
            await gathered(receiver, 12)
            received.set()
            await asyncio.Event().wait()

    reading = asyncio.ensure_future(read())
    await received.wait()
    await subject.crash(doomed)
    await abandoned(reading)
    assert versions(await _read(subject.events, 12)) == list(range(1, 13))


@case("R-OUTBOX-8", "design 3: lag")
async def the_lag_is_the_time_of_the_oldest_event_not_acknowledged(subject: Subject) -> None:
    assert await oldest_unread(subject.events, TOPIC, "reader") is None, "a topic nobody has sent to"
    await subject.events.send(some(4, run_id="run"))
    assert await oldest_unread(subject.events, TOPIC, "reader") == NOW, "a name that has read nothing"
    await _read(subject.events, 4)
    assert await oldest_unread(subject.events, TOPIC, "reader") == NOW, "received is not acknowledged"
    await _read(subject.events, 4, ack=[2])
    assert await oldest_unread(subject.events, TOPIC, "reader") == NOW + 2 * SECOND
    assert await oldest_unread(subject.events, TOPIC, "another reader") == NOW
    await _read(subject.events, 2, ack=[4])
    assert await oldest_unread(subject.events, TOPIC, "reader") is None
    await subject.events.send(some(1, run_id="run", start=9))
    assert await oldest_unread(subject.events, TOPIC, "reader") == NOW + 9 * SECOND


@case("design 3: lag")
async def the_lag_is_the_oldest_of_all_partitions(subject: Subject) -> None:
    runs = _apart(subject.events.partitions(TOPIC), 3)
    for place, run_id in enumerate(runs):
        await subject.events.send(some(2, run_id=run_id, start=10 * place))
    for place in range(len(runs)):
        assert await oldest_unread(subject.events, TOPIC, "reader") == NOW + timedelta(seconds=10 * place)
        left = 2 * (len(runs) - place)
        await _read(subject.events, left, ack=[10 * place + 2])
    assert await oldest_unread(subject.events, TOPIC, "reader") is None
