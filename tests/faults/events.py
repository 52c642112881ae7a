"""Event streamers that are wrong in one way each."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from tests.faults import Wrapper
from workflow._model.event import Event
from workflow._model.shard import Shard
from workflow.protocols import EventReceiver


class _Streamer(Wrapper):
    """Opens receivers wrapped by `wrap`."""

    wrap: type[Wrapper] = Wrapper

    @asynccontextmanager
    async def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AsyncIterator[EventReceiver]:
        async with self.real.receiver(topic, name, shard=shard, from_latest=from_latest) as receiver:
            wrapped: EventReceiver = self.wrap(receiver)  # type: ignore[assignment]
            yield wrapped


class _AcksAtOnce(Wrapper):
    async def receive(self, limit: int) -> Sequence[Event]:
        events: Sequence[Event] = await self.real.receive(limit)
        await self.real.ack(events)
        return events


class EarlyAck(_Streamer):
    """Acknowledges what it hands out."""

    wrap = _AcksAtOnce


class _NeverAcks(Wrapper):
    async def ack(self, events: Sequence[Event]) -> None:
        pass


class LostAck(_Streamer):
    """Never writes a cursor."""

    wrap = _NeverAcks


class _LosesOnCancel(Wrapper):
    async def receive(self, limit: int) -> Sequence[Event]:
        events: Sequence[Event] = await self.real.receive(limit)
        for _ in range(3):
            await asyncio.sleep(0)  # what it holds is gone when it is cancelled here
        return events


class LosesOnCancel(_Streamer):
    """Takes events out of its buffer before it can hand them over."""

    wrap = _LosesOnCancel


class _Repeats(Wrapper):
    def __init__(self, real: EventReceiver) -> None:
        super().__init__(real)
        self._last: Sequence[Event] = ()

    async def receive(self, limit: int) -> Sequence[Event]:
        if self._last:
            repeated, self._last = self._last[:limit], ()
            return repeated
        self._last = await self.real.receive(limit)
        return self._last


class RepeatsInOneOpening(_Streamer):
    """Hands out every batch twice."""

    wrap = _Repeats


class _Unlimited(Wrapper):
    async def receive(self, limit: int) -> Sequence[Event]:
        events: Sequence[Event] = await self.real.receive(limit + 5)
        return events


class IgnoresTheLimit(_Streamer):
    """Gives more than was asked for."""

    wrap = _Unlimited


class _Backwards(Wrapper):
    async def receive(self, limit: int) -> Sequence[Event]:
        events: Sequence[Event] = await self.real.receive(limit)
        return events[::-1]


class OutOfOrder(_Streamer):
    """Gives each batch backwards."""

    wrap = _Backwards


class OneCursorForAll(Wrapper):
    """Keeps cursors by topic, whatever the name."""

    def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AbstractAsyncContextManager[EventReceiver]:
        opening: AbstractAsyncContextManager[EventReceiver] = self.real.receiver(
            topic, name and "everybody", shard=shard, from_latest=from_latest
        )
        return opening

    async def lag(self, topic: str, name: str) -> datetime | None:
        lag: datetime | None = await self.real.lag(topic, name and "everybody")
        return lag


class CursorsBelongToShards(Wrapper):
    """Puts the number of shards into the name of the cursor."""

    def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AbstractAsyncContextManager[EventReceiver]:
        own = name if shard.total == 1 or not name else f"{name}-{shard}"
        opening: AbstractAsyncContextManager[EventReceiver] = self.real.receiver(
            topic, own, shard=shard, from_latest=from_latest
        )
        return opening


class PassingReadersShare(Wrapper):
    """Keeps a cursor for readers without a name."""

    def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AbstractAsyncContextManager[EventReceiver]:
        opening: AbstractAsyncContextManager[EventReceiver] = self.real.receiver(
            topic, name or "passing", shard=shard, from_latest=from_latest or not name
        )
        return opening


class _OpensLate:
    def __init__(self, opening: AbstractAsyncContextManager[EventReceiver]) -> None:
        self._opening, self._receiver = opening, None  # type: ignore[var-annotated]

    async def receive(self, limit: int) -> Sequence[Event]:
        if self._receiver is None:
            self._receiver = await self._opening.__aenter__()
        return await self._receiver.receive(limit)  # type: ignore[no-any-return,attr-defined]

    async def ack(self, events: Sequence[Event]) -> None:
        if self._receiver is not None:
            await self._receiver.ack(events)

    async def close(self) -> None:
        if self._receiver is not None:
            await self._opening.__aexit__(None, None, None)


class LatestIsDecidedByTheFirstReceive(Wrapper):
    """Looks for the end of the topic when it is first asked for events."""

    @asynccontextmanager
    async def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AsyncIterator[EventReceiver]:
        late = _OpensLate(self.real.receiver(topic, name, shard=shard, from_latest=from_latest))
        try:
            yield late  # type: ignore[misc]
        finally:
            await late.close()


class _SkipsAPartition(Wrapper):
    async def receive(self, limit: int) -> Sequence[Event]:
        while True:
            events: Sequence[Event] = await self.real.receive(limit)
            if kept := [event for event in events if event.partition % 7]:
                return kept


class LosesPartitionsOfShards(Wrapper):
    """A signed hash: some partitions belong to no shard, as soon as there are several."""

    @asynccontextmanager
    async def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AsyncIterator[EventReceiver]:
        async with self.real.receiver(topic, name, shard=shard, from_latest=from_latest) as receiver:
            yield _SkipsAPartition(receiver) if shard.total > 1 else receiver  # type: ignore[misc]


class NoLag(Wrapper):
    """Thinks that everything has been read."""

    async def lag(self, topic: str, name: str) -> datetime | None:
        return None
