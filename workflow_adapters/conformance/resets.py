# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for a stream that is emptied while readers are open: by an operator, or because a store lost it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from workflow.errors import StreamReset
from workflow.protocols import WHOLE, Event, EventStreamer

from ._kit import Capability, Emptying, Subject, cases_of
from ._values import until
from .events import TOPIC, some, versions

case = cases_of("events")
EMPTIES = (Capability.EMPTIED_STREAM,)


class _Reader:
    """A consumer that goes on after a reset, as those of the engine do: opened again, it reads what is there."""

    def __init__(self, streamer: EventStreamer, name: str) -> None:
        self._streamer, self._name = streamer, name
        self.got: list[Event] = []
        self.openings = 0
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while True:
            with suppress(StreamReset):
                async with self._streamer.receiver(TOPIC, self._name, shard=WHOLE) as receiver:
                    self.openings += 1
                    while True:
                        events = await receiver.receive(100)
                        self.got += events
                        await receiver.ack(events)

    async def has(self, expected: Sequence[int]) -> None:
        """Wait until it has got these versions, each at least once."""

        async def all_of_them() -> bool:
            if self._task.done():
                self._task.result()
            return set(expected) <= set(versions(self.got))

        await until(all_of_them)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def _goes_on(subject: Subject, how: Emptying, sends: int) -> None:
    """One reader in this process, one in another if there can be one."""
    streamers = [subject.events]
    if Capability.SECOND_INSTANCE not in subject.factory.lacks:
        streamers.append((await subject.another()).event_streamer)
    readers = [_Reader(streamer, f"reader {number}") for number, streamer in enumerate(streamers)]
    try:
        await subject.events.send(some(20))
        for reader in readers:
            await reader.has(range(1, 21))
        # Now they read at the end of the stream, and what they acknowledge is written. (What falls into the moment in
        # which a stream is emptied may be passed over; the sweeper of the engine finds its runs.)
        await subject.events.send(some(5, start=20))
        for reader in readers:
            await reader.has(range(21, 26))
        await until(partial(_all_is_acknowledged, subject.events, len(readers)))
        await subject.factory.empty_stream(how)
        await subject.events.send(some(sends, start=99))
        for reader in readers:
            await reader.has(range(100, 100 + sends))
        await subject.events.send(some(3, start=499))
        for reader in readers:
            await reader.has(range(500, 503))
    finally:
        for reader in readers:
            await reader.close()
    # What they have acknowledged now belongs to the new stream.
    again = [_Reader(streamer, f"reader {number}") for number, streamer in enumerate(streamers)]
    try:
        await subject.events.send(some(2, start=599))
        for reader in again:
            await reader.has(range(600, 602))
    finally:
        for reader in again:
            await reader.close()


async def _all_is_acknowledged(streamer: EventStreamer, readers: int) -> bool:
    backlogs = await streamer.backlog([(TOPIC, f"reader {number}") for number in range(readers)])
    return not any(backlog.events for backlog in backlogs.values())


@case("W-2", "design: the stream is only hints", needs=EMPTIES)
async def readers_go_on_when_the_stream_is_emptied(subject: Subject) -> None:
    await _goes_on(subject, Emptying.PLAIN, 5)


@case("W-2", "design: the stream is only hints", needs=EMPTIES)
async def readers_go_on_when_the_stream_is_emptied_and_renumbered(subject: Subject) -> None:
    await _goes_on(subject, Emptying.RENUMBERED, 5)


@case("W-2", "design: the stream is only hints", needs=EMPTIES)
async def readers_go_on_when_the_stream_was_renumbered_and_has_grown_past_their_position(subject: Subject) -> None:
    await _goes_on(subject, Emptying.RENUMBERED, 60)


@case("W-2", "design: the stream is only hints", needs=EMPTIES)
async def readers_go_on_when_the_stream_is_emptied_and_their_cursors_are_gone(subject: Subject) -> None:
    await _goes_on(subject, Emptying.WITHOUT_CURSORS, 5)
