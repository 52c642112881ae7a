"""News of runs, for callers that wait: the commits of this process, and those of others from the stream.

NewsFeed costs no reads: a local commit wakes the waiters of its run in memory, and one tail per topic and process, open
while there is a waiter (and a little longer), brings the commits of other processes.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeAlias

from .._model.event import Event
from .._model.record import Record
from .._model.shard import WHOLE
from ..errors import BackendNotOpen
from ..protocols import EventStreamer
from .log import SafeLogger

LINGER = 10.0
"""Seconds a tail stays open after its last waiter left, so that one caller after another shares it."""
REOPEN = 0.5
"""Seconds before a tail that failed is opened again."""
SAFETY_NET = 5.0
"""Seconds after which a waiter looks at the store although there was no news: the stream may have lost it."""

News: TypeAlias = Record | Event
"""A committed version: the record itself if this process committed it, its event if another did."""


class Watch:
    """One waiter's news: of one run, or of every run of a foreign ID; only what `settles` says could settle it."""

    def __init__(self, foreign_id: str, run_id: str | None, settles: Callable[[News], bool]) -> None:
        self.foreign_id, self.run_id = foreign_id, run_id
        self._settles = settles
        self._news: deque[News] = deque()
        self._arrived = asyncio.Event()

    def wants(self, news: News) -> bool:
        """True if this is about the run that is waited for (without a run ID: any), and could settle it."""
        return self.run_id in (None, news.run_id) and self._settles(news)

    def tell(self, news: News | None) -> None:
        """Hand over news; None says that some may have been missed."""
        if news is not None:
            self._news.append(news)
        self._arrived.set()

    async def next(self) -> News | None:
        """The next news; None when some may have been missed, so that the store must be asked."""
        if not self._news:
            self._arrived.clear()
            try:
                async with asyncio.timeout(SAFETY_NET):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        return self._news.popleft() if self._news else None


class _Tail:
    """The open reading of one topic that all waiters of this process share."""

    def __init__(self) -> None:
        self.users = 0
        self.ready = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.closing: asyncio.TimerHandle | None = None


class NewsFeed:
    """All waiters of this process for runs of one workflow."""

    def __init__(self, workflow_name: str, stream: EventStreamer, logger: SafeLogger) -> None:
        self._workflow_name, self._stream, self._logger = workflow_name, stream, logger
        self._watches: dict[str, list[Watch]] = {}
        self._tails: dict[str, _Tail] = {}

    def notify(self, news: News) -> None:
        """Tell those who wait about a version."""
        # Workflows whose names read alike share topics.
        if not self._watches or news.workflow_name != self._workflow_name:
            return
        for watch in self._watches.get(news.foreign_id, ()):
            if watch.wants(news):
                watch.tell(news)

    @asynccontextmanager
    async def watch(
        self, foreign_id: str, run_id: str | None, topics: Sequence[str], settles: Callable[[News], bool]
    ) -> AsyncIterator[Watch]:
        """News from now on: commits after the context is entered are not missed while the stream works."""
        watch = Watch(foreign_id, run_id, settles)
        self._watches.setdefault(foreign_id, []).append(watch)
        try:
            async with AsyncExitStack() as stack:
                for topic in topics:
                    await stack.enter_async_context(self._tail(topic))
                yield watch
        finally:
            watches = self._watches[foreign_id]
            watches.remove(watch)
            if not watches:
                del self._watches[foreign_id]

    async def close(self) -> None:
        """Close tails that linger."""
        tails, self._tails = list(self._tails.values()), {}
        tasks = []
        for tail in tails:
            if tail.closing is not None:
                tail.closing.cancel()
            # One of a loop that has ended went with it.
            if tail.task is not None and tail.task.get_loop() is asyncio.get_running_loop():
                tail.task.cancel()
                tasks.append(tail.task)
        if tasks:
            await asyncio.wait(tasks)

    @asynccontextmanager
    async def _tail(self, topic: str) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        tail = self._tails.get(topic)
        if tail is None or tail.task is None or tail.task.done() or tail.task.get_loop() is not loop:
            tail = self._tails[topic] = _Tail()
            tail.task = loop.create_task(self._follow(topic, tail), name=f"workflow-tail-{topic}")
        tail.users += 1
        if tail.closing is not None:
            tail.closing.cancel()
            tail.closing = None
        try:
            await tail.ready.wait()
            yield
        finally:
            tail.users -= 1
            if not tail.users:
                tail.closing = loop.call_later(LINGER, self._close, topic, tail)

    def _close(self, topic: str, tail: _Tail) -> None:
        if tail.task is not None:
            tail.task.cancel()
        if self._tails.get(topic) is tail:
            del self._tails[topic]

    async def _follow(self, topic: str, tail: _Tail) -> None:
        while True:
            try:
                async with self._stream.receiver(topic, "", shard=WHOLE, from_latest=True) as receiver:
                    if tail.ready.is_set():
                        self._missed()
                    tail.ready.set()
                    while True:
                        for event in await receiver.receive(1000):
                            self.notify(event)
            except BackendNotOpen:
                # Whoever waits looks at the store, and learns it there.
                tail.ready.set()
                self._missed()
                return
            except Exception as error:  # noqa: BLE001 - reported; those who wait for this tail must not wait for ever
                # Waiters still see local commits, and look at the store now and then.
                tail.ready.set()
                if not tail.users:
                    # It only lingers: perhaps the backend has been closed.
                    return
                self._logger.warning("the tail of %s failed and is opened again: %s", topic, error)
                await asyncio.sleep(REOPEN)

    def _missed(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.tell(None)
