"""The event stream and the leases of the simulated world.

The stream loses, repeats, delays and so reorders events, and now and then loses everything it had. A lease outlives a
dead holder until it expires, and may be given to another while its holder still believes in it.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from msgspec.structs import replace

from workflow._model.event import Backlog, Event
from workflow._model.shard import Shard, partition_of
from workflow.errors import EventsRefused, StreamReset, Unavailable
from workflow.protocols import EventReceiver, EventStreamer, Holding, Lease, Member, RoleScheduler
from workflow_adapters.kit.signal import Signal
from workflow_adapters.memory import MemoryLease

from .ports import Faulty
from .watch import PARTITIONS
from .world import World

REFUSED = 2
"""The status at which events of some runs are too much for the stream."""
LEASE_TIME = 5.0
"""Seconds until a dead holder's role goes to somebody else."""
OUTSIDE = contextvars.Context()
"""The network's own context: what is on its way arrives although its sender dies."""


class Stream:
    """The shared topics: (topic, partition) -> events with the moment of their arrival."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.events: dict[tuple[str, int], list[tuple[Event, float]]] = {}
        self.cursors: dict[tuple[str, str, int], int] = {}
        self.wipes = 0
        self.resets = 0
        self.signal = Signal()

    def arrive(self, event: Event) -> None:
        index = partition_of(event.run_id, PARTITIONS)
        kept = self.events.setdefault((event.topic, index), [])
        kept.append((replace(event, partition=index, position=len(kept) + 1), self.world.loop.time()))
        self.signal.set()

    def end(self, topic: str, index: int) -> int:
        return len(self.events.get((topic, index), ()))

    def cursor(self, topic: str, name: str, index: int) -> int:
        return self.cursors.get((topic, name, index), 0)

    def wipe(self) -> None:
        """Everything is lost; cursors are left behind, beyond the end, while those who read now notice it."""
        self.events.clear()
        self.wipes += 1

    def unread(self, event: Event, *, older_than: float) -> bool:
        """True if some consumer of the topic has had this very version before it, unread, for a while."""
        index = partition_of(event.run_id, PARTITIONS)
        names = [name for topic, name, at in self.cursors if topic == event.topic and at == index]
        if not names:
            return False
        read = max(self.cursor(event.topic, name, index) for name in names)
        return any(
            kept.run_id == event.run_id and kept.version == event.version and arrived < older_than
            for kept, arrived in self.events.get((event.topic, index), ())[read:]
        )


class SimStream(Faulty, EventStreamer):
    """The stream as one process reaches it."""

    async def send(self, events: Sequence[Event]) -> None:
        await self.enter()
        world, stream = self.world, self.world.stream
        if world.is_cut():
            raise Unavailable("simulated")
        if world.plan.laggards:
            await asyncio.sleep(0.3)
        refused = tuple(index for index, event in enumerate(events) if self._is_refused(event))
        for index, event in enumerate(events):
            if index in refused:
                world.refused.add(event.run_id)
                continue
            copies = 0 if world.chance(world.plan.loss) else 2 if world.chance(world.plan.twice) else 1
            for _ in range(copies):
                if world.chance(world.plan.late):
                    world.loop.call_later(world.rng.uniform(0.01, 5.0), stream.arrive, event, context=OUTSIDE)
                else:
                    stream.arrive(event)
        if refused:
            raise EventsRefused("simulated", refused)
        await self.leave()

    def _is_refused(self, event: Event) -> bool:
        return event.run_id.startswith("unsendable") and event.status == REFUSED

    def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AbstractAsyncContextManager[EventReceiver]:
        return self._open(topic, name, shard, from_latest)

    @asynccontextmanager
    async def _open(self, topic: str, name: str, shard: Shard, from_latest: bool) -> AsyncIterator[EventReceiver]:
        await self.enter()
        yield _Receiver(self, topic, name, shard, from_latest)

    def partitions(self, topic: str) -> int:
        return PARTITIONS

    async def backlog(self, consumers: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Backlog]:
        await self.enter()
        return {(topic, name): self._backlog(topic, name) for topic, name in consumers}

    def _backlog(self, topic: str, name: str) -> Backlog:
        stream = self.world.stream
        unread = [
            event
            for index in range(PARTITIONS)
            for event, _ in stream.events.get((topic, index), [])[stream.cursor(topic, name, index) :]
        ]
        return Backlog(events=len(unread), oldest=min((event.created_at for event in unread), default=None))


class _Receiver(EventReceiver):
    def __init__(self, port: SimStream, topic: str, name: str, shard: Shard, from_latest: bool) -> None:
        self._port, self._topic, self._name = port, topic, name
        self._stream: Stream = port.world.stream
        self._next: dict[int, int] = {}
        self._wipes, self._resets = self._stream.wipes, self._stream.resets
        for index in shard.partitions(PARTITIONS):
            end = self._stream.end(topic, index)
            start = end if from_latest or not name else 0
            at = self._stream.cursors.get((topic, name, index), start) if name else start
            self._next[index] = at if at <= end else 0
            if name:
                self._stream.cursors.setdefault((topic, name, index), start)

    async def receive(self, limit: int) -> Sequence[Event]:
        while True:
            seen = self._stream.signal.count
            found: list[Event] = []
            if self._resets < self._stream.resets:
                raise StreamReset("simulated")
            if self._wipes < self._stream.wipes:
                self._wipes = self._stream.wipes
                self._next = dict.fromkeys(self._next, 0)
            for index, at in self._next.items():
                kept = self._stream.events.get((self._topic, index), [])
                some = kept[at : at + limit - len(found)]
                found += [event for event, _ in some]
                self._next[index] = at + len(some)
            if found:
                return found
            await self._stream.signal.wait_beyond(seen)

    async def ack(self, events: Sequence[Event]) -> None:
        await self._port.enter()
        if self._resets < self._stream.resets:
            return
        for event in events:
            key = (self._topic, self._name, event.partition)
            end = self._stream.end(self._topic, event.partition)
            if event.position > end:
                continue
            stored = self._stream.cursors.get(key, 0)
            if self._name and (event.position > stored or stored > end):
                self._stream.cursors[key] = event.position


class _Held:
    def __init__(self, owner: Any, lease: MemoryLease) -> None:
        self.owner, self.lease = owner, lease
        self.expires: float | None = None


class Roles:
    """Who holds which role."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.held: dict[str, _Held] = {}
        self.tokens: dict[str, int] = {}
        self.unclean: set[str] = set()
        self.signal = Signal()
        self._granted: dict[tuple[str, Any], tuple[MemoryLease, float]] = {}
        self._lost: dict[MemoryLease, float] = {}

    def lost_at(self, role: str, process: Any) -> float | None:
        """When this process learned that it had lost the role it was last granted; None if it has not."""
        granted = self._granted.get((role, process))
        return None if granted is None else self._lost.get(granted[0])

    def held_since(self, role: str, process: Any) -> float | None:
        """Since when the process has held the role; None if it does not."""
        granted, held = self._granted.get((role, process)), self.held.get(role)
        return granted[1] if granted and held and held.lease is granted[0] else None

    def grant(self, role: str, owner: Any) -> MemoryLease | None:
        held = self.held.get(role)
        if held is not None:
            if held.owner.dead and held.expires is None:
                held.expires = self.world.loop.time() + LEASE_TIME
            if held.expires is None or self.world.loop.time() < held.expires:
                return None
            self.unclean.add(role)
        self.tokens[role] = self.tokens.get(role, 0) + 1
        lease = MemoryLease(self.tokens[role], role in self.unclean)
        self.unclean.discard(role)
        self.held[role] = _Held(owner, lease)
        self._granted[role, owner] = (lease, self.world.loop.time())
        self.world.note(f"{owner.name} holds {role}{' uncleanly' if lease.unclean else ''}")
        return lease

    def release(self, role: str, lease: MemoryLease) -> None:
        held = self.held.get(role)
        if held is not None and held.lease is lease:
            if not held.owner.dead and not self.world.over:
                self.world.watch.released(role, held.owner)
            del self.held[role]
            self.signal.set()

    def lose(self, role: str, warned: float) -> None:
        """The lease runs out while its holder works on; it hears of it after `warned` seconds."""
        held = self.held.get(role)
        if held is None:
            return
        held.expires = self.world.loop.time()
        self.world.loop.call_later(warned, self._tell, held.lease, context=OUTSIDE)

    def _tell(self, lease: MemoryLease) -> None:
        self._lost.setdefault(lease, self.world.loop.time())
        lease.lost.set()


class SimRoles(Faulty, RoleScheduler):
    """The scheduler as one process reaches it."""

    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        return self._hold(role)

    @asynccontextmanager
    async def _hold(self, role: str) -> AsyncIterator[Lease]:
        roles: Roles = self.world.roles
        while (lease := None if self.gone() else roles.grant(role, self.owner)) is None:
            try:
                async with asyncio.timeout(1.0 + self.world.rng.random()):
                    await roles.signal.wait_beyond(roles.signal.count)
            except TimeoutError:
                pass
        try:
            yield lease
        finally:
            roles.release(role, lease)

    async def members(self) -> Sequence[Member]:
        await self.enter()
        return []

    async def holdings(self) -> Sequence[Holding]:
        await self.enter()
        return []
