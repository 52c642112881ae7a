"""The tail of the log, the receivers that live on it, and their acknowledgements."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from workflow.errors import StreamReset
from workflow.protocols import Event
from workflow_adapters.conformance._values import created
from workflow_adapters.kit import receiver as receiver_module
from workflow_adapters.kit.ack_buffer import AckBuffer, Cursor
from workflow_adapters.kit.event_log import EventLog, LogEnd, LogRow, News
from workflow_adapters.kit.receiver import LogReceiver
from workflow_adapters.kit.tail import Tail

SOON = 5.0
_LOG = logging.getLogger("workflow.tests")
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Event).decode


class Log(EventLog):
    """A log in a list, at positions 1, 2, 3 …; it answers after a turn of the loop or more."""

    page = 3

    def __init__(self, draw: random.Random | None = None) -> None:
        self.rows: list[LogRow] = []
        self.reads = self.ends = 0
        self._draw = draw

    def append(self, topic: str, run: str, partition: int = 0) -> Event:
        event = msgspec.structs.replace(created(run).event, topic=topic)
        self.rows.append(LogRow(len(self.rows) + 1, partition, topic, _encode(event)))
        return msgspec.structs.replace(event, partition=partition, position=len(self.rows))

    async def _turns(self) -> None:
        for _ in range(1 if self._draw is None else self._draw.randint(0, 4)):
            await asyncio.sleep(0)

    def _end(self) -> LogEnd:
        return LogEnd(len(self.rows), self.rows[-1].data) if self.rows else LogEnd(0, None)

    async def end(self) -> LogEnd:
        await self._turns()
        end = self._end()
        await self._turns()
        self.ends += 1
        return end

    async def news(self, after: LogEnd, topics: Collection[str]) -> News:
        self.reads += 1
        await self._turns()
        end, found = self._end(), [row for row in self.rows[after.position :] if row.topic in topics]
        is_other = after.position > len(self.rows) or (
            after.position > 0 and after.data is not None and self.rows[after.position - 1].data != after.data
        )
        await self._turns()
        more = len(found) > self.page
        rows = found[: self.page]
        return News(rows, LogEnd(rows[-1].position, rows[-1].data) if more else end, more, is_other)

    async def beyond(self, topic: str, positions: Mapping[int, int], limit: int) -> Sequence[LogRow]:
        await self._turns()
        found: list[LogRow] = []
        for partition, position in positions.items():
            mine = [row for row in self.rows[position:] if (row.topic, row.partition) == (topic, partition)]
            found += mine[:limit]
        await self._turns()
        return sorted(found)

    def decode(self, row: LogRow) -> Event | None:
        if not row.data:
            return None
        return msgspec.structs.replace(_decode(row.data), partition=row.partition, position=row.position)


async def _nothing(_: Mapping[Cursor, int]) -> None:
    """The acknowledgements are not looked at."""


@asynccontextmanager
async def following(log: Log) -> AsyncIterator[Tail]:
    tail = Tail(log, None, _LOG)
    task = asyncio.ensure_future(tail.follow())
    try:
        yield tail
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def opened(log: Log, tail: Tail, topic: str = "topic", partitions: Sequence[int] = (0,)) -> LogReceiver:
    """A receiver from the beginning."""
    receiver = LogReceiver(topic, "name", partitions, log, AckBuffer(_nothing, _LOG))
    tail.attach(receiver)
    receiver.start(dict.fromkeys(partitions, 0), end=(await log.end()).position)
    return receiver


async def received(receiver: LogReceiver, count: int, limit: int = 10) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(SOON):
        while len(found) < count:
            found += [event.run_id for event in await receiver.receive(limit)]
    return found


async def test_what_the_tail_went_past_before_the_start_is_read_although_later_events_lie_aside() -> None:
    """The positions were looked up before both were sent, so nothing else says that there is something to catch up."""
    log = Log()
    receiver = LogReceiver("topic", "name", [0], log, AckBuffer(_nothing, _LOG))
    log.append("topic", "missed")
    receiver.miss()
    receiver.hand(log.append("topic", "aside"))
    receiver.start({0: 0}, end=0)
    assert await received(receiver, 2) == ["missed", "aside"]


async def test_own_appends_are_handed_over_without_a_read() -> None:
    log = Log()
    async with following(log) as tail:
        receiver = await opened(log, tail)
        log.append("topic", "first")
        tail.wake()
        assert await received(receiver, 1) == ["first"]
        reads = log.reads
        tail.appended([log.append("topic", f"own {number}") for number in range(5)], log.rows[-1].data)
        assert await received(receiver, 5) == [f"own {number}" for number in range(5)]
        assert log.reads == reads


async def test_own_appends_behind_those_of_another_process_are_read() -> None:
    log = Log()
    async with following(log) as tail:
        receiver = await opened(log, tail)
        log.append("topic", "first")
        tail.wake()
        assert await received(receiver, 1) == ["first"]
        log.append("topic", "foreign")
        tail.appended([log.append("topic", "own")], log.rows[-1].data)
        assert await received(receiver, 2) == ["foreign", "own"]


async def test_an_event_that_does_not_decode_is_passed_over() -> None:
    log = Log()
    log.append("topic", "one")
    log.rows.append(LogRow(2, 0, "topic", b""))
    log.append("topic", "two")
    async with following(log) as tail:
        receiver = await opened(log, tail)
        assert await received(receiver, 2) == ["one", "two"]
        log.rows.append(LogRow(4, 0, "topic", b""))
        log.append("topic", "three")
        tail.wake()
        assert await received(receiver, 1) == ["three"]


async def test_a_slow_consumer_reads_from_the_log_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_module, "_MOST_WAITING", 5)
    log = Log()
    async with following(log) as tail:
        receiver = await opened(log, tail)
        log.append("topic", "0")
        tail.wake()
        assert await received(receiver, 1) == ["0"]
        tail.appended([log.append("topic", str(number)) for number in range(1, 40)], log.rows[-1].data)
        assert await received(receiver, 39, limit=3) == [str(number) for number in range(1, 40)]


class GatedLog(Log):
    """Each read begins when the test opens its gate, and ends when the test opens the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: list[asyncio.Future[None]] = []

    async def _turns(self) -> None:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate

    async def open_gate(self) -> None:
        """Let the read that waits longest go on, up to its next gate."""
        async with asyncio.timeout(SOON):
            while not self.gates:
                await asyncio.sleep(0)
        self.gates.pop(0).set_result(None)
        for _ in range(5):
            await asyncio.sleep(0)


def _attached(log: Log, tail: Tail, topic: str) -> LogReceiver:
    receiver = LogReceiver(topic, "name", [0], log, AckBuffer(_nothing, _LOG))
    tail.attach(receiver)
    return receiver


async def test_a_receiver_that_opens_while_the_tail_finds_the_end_misses_nothing() -> None:
    """The tail begins behind an event that was sent after the receiver had looked up its position."""
    log = GatedLog()
    async with following(log) as tail:
        receiver = _attached(log, tail, "topic")
        receiver.start({0: 0}, end=0)
        log.append("topic", "sent meanwhile")
        receiving = asyncio.ensure_future(received(receiver, 1))
        for _ in range(4):  # the end of the log, then the receiver's own read
            await log.open_gate()
        assert await receiving == ["sent meanwhile"]


async def test_a_receiver_of_a_topic_that_a_read_does_not_cover_misses_nothing() -> None:
    """It opens while the tail reads for other topics, and the tail goes past an event of its topic."""
    log = GatedLog()
    async with following(log) as tail:
        _attached(log, tail, "other").start({0: 0}, end=0)
        for _ in range(2):
            await log.open_gate()
        tail.wake()
        for _ in range(2):
            await asyncio.sleep(0)
        receiver = _attached(log, tail, "topic")
        receiver.start({0: 0}, end=0)
        log.append("topic", "sent meanwhile")
        receiving = asyncio.ensure_future(received(receiver, 1))
        for _ in range(4):
            await log.open_gate()
        assert await receiving == ["sent meanwhile"]


async def test_what_the_tail_goes_past_during_a_catch_up_is_read_in_another() -> None:
    log = GatedLog()
    receiver = LogReceiver("topic", "name", [0], log, AckBuffer(_nothing, _LOG))
    log.append("topic", "old")
    receiver.start({0: 0}, end=1)
    receiving = asyncio.ensure_future(received(receiver, 2))
    await log.open_gate()  # it has looked, and has not got its answer
    log.append("topic", "sent meanwhile")
    receiver.miss()
    for _ in range(3):
        await log.open_gate()
    assert await receiving == ["old", "sent meanwhile"]


@pytest.mark.parametrize("seed", range(60))
async def test_every_receiver_gets_every_event_once_and_in_order(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Receivers come and go while this process and others append to several topics."""
    monkeypatch.setattr(receiver_module, "_SMALLEST_READ", 1)
    monkeypatch.setattr(receiver_module, "_MOST_WAITING", 12)
    draw = random.Random(seed)
    log = Log(draw)
    topics, partitions = ["a", "b"], [0, 1]

    async def write(tail: Tail) -> None:
        for number in range(60):
            event = log.append(draw.choice(topics), str(number), draw.choice(partitions))
            if draw.random() < 0.6:
                tail.appended([event], log.rows[-1].data)
            else:
                tail.wake()
            for _ in range(draw.randint(0, 3)):
                await asyncio.sleep(0)

    async def read(tail: Tail, topic: str) -> None:
        for _ in range(draw.randint(0, 120)):
            await asyncio.sleep(0)
        receiver = await opened(log, tail, topic, partitions)
        seen: list[Event] = []
        async with asyncio.timeout(SOON):
            while not (writing.done() and len(seen) == sum(row.topic == topic for row in log.rows)):
                receiving = asyncio.ensure_future(receiver.receive(draw.randint(1, 4)))
                for _ in range(draw.randint(1, 8)):
                    await asyncio.sleep(0)
                receiving.cancel()  # cancelling loses nothing
                await asyncio.wait([receiving])
                seen += [] if receiving.cancelled() else receiving.result()
        tail.detach(receiver)
        for partition in partitions:
            mine = [event.position for event in seen if event.partition == partition]
            stored = [row.position for row in log.rows if (row.topic, row.partition) == (topic, partition)]
            assert mine == stored

    async with following(log) as tail:
        writing = asyncio.ensure_future(write(tail))
        await asyncio.gather(writing, *(read(tail, draw.choice(topics)) for _ in range(5)))


@pytest.mark.parametrize("grows", [0, 3, 50])
async def test_a_log_that_is_another_one_ends_its_readings(grows: int) -> None:
    """It was emptied, or restored; and it may have grown past the old position before anybody looked."""
    log, written = Log(), dict[Cursor, int]()

    async def write(positions: Mapping[Cursor, int]) -> None:
        written.update(positions)

    acks = AckBuffer(write, _LOG)
    async with following(log) as tail:
        receiver = LogReceiver("topic", "name", [0], log, acks)
        tail.attach(receiver)
        receiver.start({0: 0}, end=0)
        for number in range(10):
            log.append("topic", f"old {number}")
        tail.wake()
        await received(receiver, 10)
        await receiver.ack([log.append("topic", "acknowledged")])
        tail.wake()
        await received(receiver, 1)
        log.rows.clear()
        for number in range(grows):
            log.append("topic", f"new {number}")
        tail.wake()
        with pytest.raises(StreamReset, match="lacks what was read at position 11"):
            await received(receiver, 1)
        await receiver.ack([log.append("topic", "too late")])
        await acks.flush()
        assert written == {}, "they belong to the old log"
        tail.detach(receiver)
        again = LogReceiver("topic", "name", [0], log, acks)
        tail.attach(again)
        again.start({0: 0}, end=len(log.rows))
        assert await received(again, grows + 1) == [*(f"new {number}" for number in range(grows)), "too late"]


async def test_an_old_event_that_is_removed_ends_no_reading() -> None:
    log = Log()
    async with following(log) as tail:
        receiver = await opened(log, tail)
        log.append("topic", "old")
        tail.wake()
        assert await received(receiver, 1) == ["old"]
        log.rows[0] = LogRow(1, 0, "elsewhere", log.rows[0].data)
        log.append("topic", "new")
        tail.wake()
        assert await received(receiver, 1) == ["new"]


async def test_what_a_receiver_has_read_beyond_the_tail_must_still_be_there() -> None:
    """It caught up by itself, and the log was emptied and numbered anew before the tail had come so far."""
    log = Log()
    async with following(log) as tail:
        receiver = LogReceiver("topic", "name", [0], log, AckBuffer(_nothing, _LOG))
        tail.attach(receiver)
        async with asyncio.timeout(SOON):
            while not log.ends:
                await asyncio.sleep(0)
        for number in range(10):
            log.append("topic", f"old {number}")
        receiver.start({0: 0}, end=10)
        assert len(await received(receiver, 10)) == 10
        log.rows.clear()
        log.append("topic", "new")
        tail.wake()
        with pytest.raises(StreamReset, match="lacks what was read at position 10"):
            await received(receiver, 1)
