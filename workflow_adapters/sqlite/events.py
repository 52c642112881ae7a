"""Events in a table, cursors beside it, and one reading of the table for all receivers of the process.

Writers take turns on a SQLite file, so positions become visible in order and a reader that goes by position skips
nothing. The tail reads what is new once and hands it to the receivers of each topic; a receiver that opens, or fell
far behind, reads from its cursor until it has caught up with the tail.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Self

from workflow._event import Event
from workflow._shard import Shard, partition_of
from workflow.errors import EventsRefused, WorkflowError
from workflow.protocols import EventReceiver, EventStreamer

from .database import Database
from .receiver import Receiver
from .rows import encode, micros, moment
from .schema import PARTITIONS
from .stream import ACK, SEND, TAIL, end, event, forget, new_topics, old_page, oldest, start, topic_ids

ACK_DELAY = 0.2
"""Seconds that acknowledgements of all receivers are collected for one write."""
READ = 2000
"""Events the tail reads at once."""
TRIM_EVERY = 600.0
"""Seconds between looks for events that may be forgotten."""
TRIM = 5000
"""Events looked at in one go."""
RETRY = 1.0
"""Seconds before what failed is tried again."""

_log = logging.getLogger("workflow.sqlite")


class SQLiteEventStreamer(EventStreamer):
    """The stream of one file."""

    def __init__(self, database: Database, retention: timedelta) -> None:
        self._database, self._retention = database, retention
        self._topics: dict[str, int] = {}
        self._receivers: dict[int, set[Receiver]] = {}
        self._acks: dict[tuple[int, str], int] = {}
        self._flushing: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._read_to = 0
        self._flush_turn = asyncio.Lock()
        self.partitions = PARTITIONS

    async def __aenter__(self) -> Self:
        self._flush_turn = asyncio.Lock()
        self.partitions = self._database.partitions
        self._read_to = await self._database.read(end)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._tail()), loop.create_task(self._trim_forever())]
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._writing, return_exceptions=True)
        try:
            await self.flush()
        except WorkflowError as error:
            _log.warning("acknowledgements are lost, their events come again: %s", error)

    async def send(self, events: Sequence[Event]) -> None:
        """Append the events."""
        sound = [(index, one) for index, one in enumerate(events) if _is_text(one)]
        topics = await self._numbers({one.topic for _, one in sound})
        rows: list[tuple[Any, ...]] = []
        refused = set(range(len(events))) - {index for index, _ in sound}
        for index, one in sound:
            try:
                stream = topics[one.topic] * self.partitions + partition_of(one.run_id, self.partitions)
                rows.append((stream, micros(one.created_at), encode(one)))
            except (UnicodeEncodeError, OverflowError):
                refused.add(index)
        if rows:
            await self._database.write(lambda c: c.executemany(SEND, rows).rowcount, wakes=[("events", "")])
        if refused:
            raise EventsRefused("it cannot be encoded", tuple(sorted(refused)))

    async def _numbers(self, names: Collection[str]) -> Mapping[str, int]:
        """The numbers of topics; those seen first get theirs in a write of its own, so that it stays true."""
        missing = [name for name in names if name not in self._topics]
        if missing:
            self._topics.update(await self._database.read(lambda c: topic_ids(c, missing)))
            if missing := [name for name in missing if name not in self._topics]:
                self._topics.update(await self._database.write(lambda c: new_topics(c, missing)))
        return self._topics

    def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AbstractAsyncContextManager[EventReceiver]:
        """Open a reading."""
        return self._open(topic, name, shard, from_latest)

    @asynccontextmanager
    async def _open(self, topic: str, name: str, shard: Shard, from_latest: bool) -> AsyncIterator[EventReceiver]:
        number = (await self._numbers([topic]))[topic]
        await self.flush()
        owned = shard.partitions(self.partitions)
        positions = await self._database.read(lambda c: start(c, number, self.partitions, name, owned, from_latest))
        if name and from_latest:
            self.ack(name, positions)
            await self.flush()
        receiver = Receiver(self, self._database, name, number, positions)
        readers = self._receivers.setdefault(number, set())
        readers.add(receiver)
        try:
            yield receiver
        finally:
            readers.discard(receiver)
            if name:
                await self.flush()

    async def lag(self, topic: str, name: str) -> datetime | None:
        """The oldest event beyond the cursors."""
        number = (await self._database.read(lambda c: topic_ids(c, [topic]))).get(topic)
        if number is None:
            return None
        pending = {stream: position for (stream, consumer), position in self._acks.items() if consumer == name}
        found = await self._database.read(lambda c: oldest(c, number, self.partitions, name, pending))
        return None if found is None else moment(found)

    def ack(self, name: str, positions: Mapping[int, int]) -> None:
        """Note how far a consumer is; written soon, together with others."""
        for stream, position in positions.items():
            key = (stream, name)
            self._acks[key] = max(position, self._acks.get(key, 0))
        if self._flushing is None and positions:
            self._flushing = asyncio.get_running_loop().call_later(ACK_DELAY, self._flush_soon)

    def _flush_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self._flush_quietly())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _flush_quietly(self) -> None:
        try:
            await self.flush()
        except WorkflowError as error:
            # The acknowledgements are kept and go with the next ones; until then events may come twice.
            _log.warning("acknowledgements are late: %s", error)
            self._flushing = asyncio.get_running_loop().call_later(RETRY, self._flush_soon)

    async def flush(self) -> None:
        """Write the acknowledgements that wait; those that are being written are written on return, too."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        async with self._flush_turn:
            if not self._acks:
                return
            acks, self._acks = self._acks, {}
            rows = [(*key, position) for key, position in acks.items()]
            try:
                await self._database.write(lambda c: c.executemany(ACK, rows).rowcount, lazy=True)
            except WorkflowError:
                for key, position in acks.items():
                    self._acks[key] = max(position, self._acks.get(key, 0))
                raise

    async def _tail(self) -> None:
        signal = self._database.signals.signal("events")
        while True:
            seen = signal.count
            try:
                found = await self._database.read(lambda c: c.execute(TAIL, (self._read_to, READ)).fetchall())
            except Exception as error:  # noqa: BLE001 - reported; every receiver of the process hangs on this task
                _log.warning("events cannot be read: %r", error)
                await asyncio.sleep(RETRY)
                continue
            self._dispatch(found)
            if len(found) < READ:
                await signal.wait_beyond(seen)

    def _dispatch(self, rows: list[tuple[int, int, bytes]]) -> None:
        for position, stream, data in rows:
            self._read_to = position
            topic, partition = divmod(stream, self.partitions)
            readers = [one for one in self._receivers.get(topic, ()) if one.owns(stream)]
            if readers and (found := event(data, partition, position)) is not None:
                for reader in readers:
                    reader.push(found)

    async def _trim_forever(self) -> None:
        while True:
            await asyncio.sleep(TRIM_EVERY)
            try:
                await self.trim()
            except WorkflowError as error:
                _log.warning("old events are kept for now: %s", error)

    async def trim(self) -> int:
        """Forget events that everybody has read and that are older than the retention; how many."""
        before = time.time_ns() // 1000 - int(self._retention.total_seconds() * 1e6)
        forgotten, after = 0, 0
        while True:
            here = after
            page = await self._database.read(lambda c: old_page(c, self.partitions, here, before, TRIM))  # noqa: B023
            if needless := page.needless:
                forgotten += await self._database.write(lambda c: forget(c, needless), lazy=True)
            if page.next is None:
                return forgotten
            after = page.next
            await asyncio.sleep(0.1)  # others want to write, too


def _is_text(one: Event) -> bool:
    try:
        one.topic.encode()
    except UnicodeEncodeError:
        return False
    return True
