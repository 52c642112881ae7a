# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for `EventStreamer.backlog`: how far many consumers are behind, in one call."""

from collections.abc import Sequence

from workflow.protocols import WHOLE, Backlog, Event

from ._kit import Capability, Subject, cases_of
from ._values import NOW, SECOND, gathered
from .events import some

case = cases_of("events")

NOTHING = Backlog()


async def _read(subject: Subject, topic: str, name: str, count: int, *acknowledged: int) -> None:
    """Read so many events and acknowledge those of these versions; closing the receiver writes it."""
    async with subject.events.receiver(topic, name, shard=WHOLE) as receiver:
        events = await gathered(receiver, count)
        await receiver.ack([event for event in events if event.version in acknowledged])


def _of(events: Sequence[Event]) -> Backlog:
    return Backlog(events=len(events), oldest=min((event.created_at for event in events), default=None))


@case("contract: backlog")
async def a_backlog_is_the_number_and_the_oldest_of_the_events_not_acknowledged(subject: Subject) -> None:
    pair = ("topic", "reader")
    assert await subject.events.backlog([pair]) == {pair: NOTHING}, "nothing was sent to this topic"
    sent = some(6, run_id="run", topic="topic")
    await subject.events.send(sent)
    assert await subject.events.backlog([pair]) == {pair: _of(sent)}, "this name has read nothing"
    await _read(subject, "topic", "reader", 6)
    assert await subject.events.backlog([pair]) == {pair: _of(sent)}, "an event that was received is not acknowledged"
    await _read(subject, "topic", "reader", 6, 4)
    assert await subject.events.backlog([pair]) == {pair: _of(sent[4:])}
    await _read(subject, "topic", "reader", 2, 6)
    assert await subject.events.backlog([pair]) == {pair: NOTHING}
    late = some(2, run_id="run", topic="topic", start=9)
    await subject.events.send(late)
    assert await subject.events.backlog([pair]) == {pair: _of(late)}


@case("contract: backlog")
async def the_backlogs_of_many_consumers_come_in_one_answer(subject: Subject) -> None:
    topics = [f"topic {number}" for number in range(4)]
    sent = {topic: some(3 + place, run_id="run", topic=topic) for place, topic in enumerate(topics)}
    for events in sent.values():
        await subject.events.send(events)
    await _read(subject, "topic 0", "reader 0", 3, 2)
    await _read(subject, "topic 2", "reader 1", 5, 5)
    pairs = [(topic, f"reader {number}") for topic in topics for number in range(30)]
    wanted = {(topic, name): _of(sent[topic]) for topic, name in pairs}
    wanted |= {("topic 0", "reader 0"): _of(sent["topic 0"][2:]), ("topic 2", "reader 1"): NOTHING}
    wanted |= {("unknown", "reader 0"): NOTHING}
    asked = [*pairs, ("unknown", "reader 0")]
    assert dict(await subject.events.backlog(asked)) == wanted
    assert dict(await subject.events.backlog([*asked, *asked[:5]])) == wanted, "a pair may be named twice"
    assert dict(await subject.events.backlog([])) == {}


@case("contract: backlog")
async def a_backlog_is_over_all_partitions_of_its_topic(subject: Subject) -> None:
    pair = ("topic", "reader")
    sent = some(40, topic="topic")
    await subject.events.send(sent)
    assert await subject.events.backlog([pair]) == {pair: _of(sent)}
    async with subject.events.receiver("topic", "reader", shard=WHOLE) as receiver:
        events = await gathered(receiver, 40)
        first = min(events, key=lambda event: event.created_at).partition
        await receiver.ack([event for event in events if event.partition == first])
    left = [event for event in events if event.partition != first]
    assert await subject.events.backlog([pair]) == {pair: _of(left)}


@case("contract: backlog")
async def a_backlog_stops_counting_at_ten_thousand_at_the_earliest(subject: Subject) -> None:
    count = 10_020
    sent = some(count, topic="topic")
    for start in range(0, count, 1_000):
        await subject.events.send(sent[start : start + 1_000])
    found = await subject.events.backlog([("topic", "reader"), ("other", "reader")])
    backlog = found["topic", "reader"]
    assert 10_000 <= backlog.events <= count, backlog
    assert backlog.oldest == NOW, "the oldest is exact"
    assert found["other", "reader"] == NOTHING


@case("contract: backlog", needs=[Capability.SECOND_INSTANCE])
async def a_backlog_is_the_same_for_every_process(subject: Subject) -> None:
    there = (await subject.another()).event_streamer
    sent = some(5, run_id="run", topic="topic")
    await subject.events.send(sent)
    await _read(subject, "topic", "reader", 5, 2)
    pairs = [("topic", "reader"), ("topic", "other")]
    wanted = {pairs[0]: _of(sent[2:]), pairs[1]: _of(sent)}
    assert dict(await there.backlog(pairs)) == wanted
    assert dict(await subject.events.backlog(pairs)) == wanted
    assert sent[2].created_at == NOW + 2 * SECOND


@case("contract: backlog", needs=[Capability.REOPENING])
async def a_backlog_is_there_after_reopening(subject: Subject) -> None:
    sent = some(5, run_id="run", topic="topic")
    await subject.events.send(sent)
    await _read(subject, "topic", "reader", 5, 2)
    await subject.reopen()
    pair = ("topic", "reader")
    assert dict(await subject.events.backlog([pair])) == {pair: _of(sent[2:])}
