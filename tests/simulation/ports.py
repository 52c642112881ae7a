"""Every process's own way to the shared store: delayed, interrupted, ambiguous; closed for ever once it is dead."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from typing import Any

from workflow.errors import OutcomeUnknown, Unavailable
from workflow.protocols import (
    APPLIED,
    BUSY,
    COUNT_CAP,
    UNKNOWN,
    Change,
    Count,
    DeadLetter,
    DeadLetterQuery,
    HeldCallback,
    NewVersion,
    OutboxInfo,
    OutboxPage,
    Outcome,
    Page,
    PublishedWorkflow,
    Record,
    RecordFilter,
    RecordQuery,
    RecordStore,
    StalledQuery,
    StatusCount,
    Subscription,
    TimeoutPage,
    TimeoutQuery,
    TimeoutRecord,
    TimeoutStore,
    Version,
    WakeUp,
    WakeUps,
    WorkflowInfo,
    refused,
)

from .world import World

UNSTORABLE = b'"note":"unstorable"'
"""What an object holds that the store refuses."""
SAFETY_NET = 5.0
"""Seconds after which a subscriber looks although it heard of nothing."""


class Faulty:
    """What all ports of one process have in common."""

    def __init__(self, world: World, owner: Any) -> None:
        self.world, self.owner = world, owner

    async def enter(self) -> None:
        """The way to the store: takes a while, and may fail before anything is written."""
        world = self.world
        if self.gone():
            raise Unavailable("this process is dead")
        slow = world.chance(world.plan.slow)
        await asyncio.sleep(world.rng.uniform(0.2, 4.0) if slow else world.rng.uniform(0.0005, 0.01))
        if self.gone() or world.out() or world.chance(world.plan.unavailable):
            raise Unavailable("simulated")

    def gone(self) -> bool:
        return self.world.over or (self.owner is not None and self.owner.dead)

    async def leave(self) -> None:
        """The way back."""
        await asyncio.sleep(self.world.rng.uniform(0.0, 0.005))


class SimRecords(Faulty, WakeUps, RecordStore):
    """The record store as one process reaches it."""

    def __init__(self, world: World, owner: Any) -> None:
        super().__init__(world, owner)
        self.inner = world.records
        self.writers = world.plan.writers
        self._under_way: list[set[str]] = []

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        runs = {change.run_id for change in changes}
        self.world.watch.asked(changes, self._under_way)
        self._under_way.append(runs)
        try:
            return await self._store(changes)
        finally:
            self._under_way.remove(runs)

    async def _store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        world = self.world
        await self.enter()
        if world.chance(world.plan.unknown / 2):
            if world.rng.random() < 0.5:
                await self._apply(changes)
            raise OutcomeUnknown("simulated")
        outcomes = [
            UNKNOWN if outcome is APPLIED and world.chance(world.plan.unknown / 2) else outcome
            for outcome in await self._apply(changes)
        ]
        await self.leave()
        return outcomes

    async def _apply(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Judge the changes as the shared store does, but for those that meet trouble of their own."""
        world = self.world
        met = [self.inner._records.get(change.run_id) for change in changes]
        outcomes = []
        for change, before in zip(changes, met, strict=True):
            trouble = self._trouble(change)
            if trouble is None:
                world.watch.before(change)
                (trouble,) = await self.inner.store([change])
                world.watch.after(self.owner, change, trouble, before)
            outcomes.append(trouble)
        return outcomes

    def _trouble(self, change: Change) -> Outcome | None:
        """A row that another transaction holds, a value that cannot be stored, a connection lost before the write."""
        world = self.world
        if isinstance(change, NewVersion) and UNSTORABLE in change.record.object:
            return refused(ValueError("cannot be stored"))
        if world.chance(world.plan.busy):
            return BUSY
        return UNKNOWN if world.chance(world.plan.unknown / 4) else None

    async def lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        await self.enter()
        found = await self.inner.lookup(run_ids)
        await self.leave()
        return found

    async def latest(self, workflow_name: str, foreign_id: str) -> Record | None:
        await self.enter()
        return await self.inner.latest(workflow_name, foreign_id)

    async def list(self, query: RecordQuery) -> Page[Record]:
        await self.enter()
        return await self.inner.list(query)

    async def count(self, query: RecordFilter, *, cap: int = COUNT_CAP) -> Count:
        await self.enter()
        return await self.inner.count(query, cap=cap)

    async def counts(self, workflow_name: str) -> Mapping[int, StatusCount]:
        await self.enter()
        return await self.inner.counts(workflow_name)

    async def history(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Version]:
        await self.enter()
        return await self.inner.history(run_id, after=after, limit=limit)

    async def first_version_at(self, run_id: str, status: int, *, since: int = 1) -> int | None:
        await self.enter()
        return await self.inner.first_version_at(run_id, status, since=since)

    async def find_attempt(self, run_id: str, attempt_id: str) -> int | None:
        await self.enter()
        return await self.inner.find_attempt(run_id, attempt_id)

    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        await self.enter()
        page = await self.inner.list_outbox(workflow_name, now=now, limit=limit)
        self.world.watch.relayed([one.id for one in page.events], self.owner)
        await self.leave()
        return page

    async def delete_outbox(self, ids: Sequence[str]) -> None:
        await self.enter()
        await self.inner.delete_outbox(ids)

    async def outbox_info(self, workflow_name: str, *, now: datetime) -> OutboxInfo:
        await self.enter()
        return await self.inner.outbox_info(workflow_name, now=now)

    def subscribe(self, kind: WakeUp, workflow_name: str) -> AbstractAsyncContextManager[Subscription]:
        return _subscribed(self, self.inner, kind, workflow_name)

    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        await self.enter()
        return await self.inner.list_stalled(query)

    async def list_auto_paused(self, workflow_name: str, *, paused_until: datetime, limit: int) -> Sequence[Record]:
        await self.enter()
        return await self.inner.list_auto_paused(workflow_name, paused_until=paused_until, limit=limit)

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        await self.enter()
        await self.inner.add_dead_letters(letters)

    async def list_dead_letters(self, query: DeadLetterQuery) -> Page[DeadLetter]:
        return await self.inner.list_dead_letters(query)

    async def lookup_dead_letters(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        return await self.inner.lookup_dead_letters(ids)

    async def remove_dead_letters(self, ids: Sequence[str]) -> None:
        await self.enter()
        await self.inner.remove_dead_letters(ids)

    async def hold(self, callback: HeldCallback) -> HeldCallback:
        await self.enter()
        return await self.inner.hold(callback)

    async def held(
        self, workflow_name: str, wanted: Sequence[tuple[str, int]], *, limit: int
    ) -> Sequence[HeldCallback]:
        await self.enter()
        return await self.inner.held(workflow_name, wanted, limit=limit)

    async def list_held(
        self, workflow_name: str, *, foreign_id: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[HeldCallback]:
        return await self.inner.list_held(workflow_name, foreign_id=foreign_id, cursor=cursor, limit=limit)

    async def list_expired(self, workflow_name: str, *, now: datetime, limit: int) -> Sequence[HeldCallback]:
        await self.enter()
        return await self.inner.list_expired(workflow_name, now=now, limit=limit)

    async def release(self, callbacks: Sequence[HeldCallback]) -> None:
        await self.enter()
        await self.inner.release(callbacks)

    async def publish(self, info: WorkflowInfo) -> None:
        await self.enter()
        await self.inner.publish(info)

    async def workflows(self) -> Sequence[PublishedWorkflow]:
        await self.enter()
        return await self.inner.workflows()

    async def memo(self, workflow_name: str, key: str) -> str:
        await self.enter()
        return await self.inner.memo(workflow_name, key)

    async def keep_memo(self, workflow_name: str, key: str, text: str) -> None:
        await self.enter()
        await self.inner.keep_memo(workflow_name, key, text)


class _LossySubscription(Subscription):
    """Wake-ups that come late, or not at all; a safety net makes up for those."""

    def __init__(self, port: Faulty, inner: Subscription) -> None:
        self._port, self._inner = port, inner

    async def wait(self) -> None:
        world = self._port.world
        with suppress(TimeoutError):
            async with asyncio.timeout(SAFETY_NET):
                await self._inner.wait()
                while world.chance(world.plan.loss):
                    await self._inner.wait()
        await self._port.enter()


@asynccontextmanager
async def _subscribed(port: Faulty, store: WakeUps, kind: WakeUp, workflow_name: str) -> AsyncIterator[Subscription]:
    await port.enter()
    async with store.subscribe(kind, workflow_name) as inner:
        yield _LossySubscription(port, inner)


class SimTimeouts(Faulty, WakeUps, TimeoutStore):
    """The timeout store as one process reaches it; a write may be done although it is reported as failed."""

    def __init__(self, world: World, owner: Any) -> None:
        super().__init__(world, owner)
        self.inner = world.timeouts

    async def exit(self) -> None:
        if self.world.chance(self.world.plan.unknown):
            raise OutcomeUnknown("simulated")
        await self.leave()

    async def create(self, timeouts: Sequence[TimeoutRecord]) -> None:
        await self.enter()
        for timeout in timeouts:
            self.world.watch.armed(timeout)
        await self.inner.create(timeouts)
        await self.exit()

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        await self.enter()
        page = await self.inner.claim_due(workflow_name, statuses, now=now, until=until, limit=limit)
        await self.exit()
        return page

    async def postpone(self, timeouts: Sequence[TimeoutRecord]) -> None:
        await self.enter()
        await self.inner.postpone(timeouts)
        await self.exit()

    async def complete(self, ids: Sequence[str]) -> None:
        await self.enter()
        await self.inner.complete(ids)
        await self.exit()

    async def cancel(self, ids: Sequence[str]) -> None:
        await self.enter()
        await self.inner.cancel(ids)
        await self.exit()

    async def list(self, query: TimeoutQuery) -> Page[TimeoutRecord]:
        await self.enter()
        return await self.inner.list(query)

    def subscribe(self, kind: WakeUp, workflow_name: str) -> AbstractAsyncContextManager[Subscription]:
        return _subscribed(self, self.inner, kind, workflow_name)
