"""Every process's own way to the shared store: delayed, interrupted, ambiguous; closed for ever once it is dead."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from workflow._model.change import BUSY, Change, NewVersion, Outcome
from workflow._model.query import RecordQuery, StalledQuery
from workflow._model.record import Record
from workflow._model.timer import TimeoutPage, TimeoutRecord
from workflow.errors import OutcomeUnknown, Unavailable
from workflow.protocols import DeadLetter, OutboxPage, RecordStore, TimeoutStore

from .world import World

UNSTORABLE = b'"note":"unstorable"'
"""What an object holds that the store refuses."""


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


class SimRecords(Faulty, RecordStore):
    """The record store as one process reaches it."""

    def __init__(self, world: World, owner: Any) -> None:
        super().__init__(world, owner)
        self.inner = world.records
        self.writers = world.plan.writers
        self._seen: dict[str, int] = {}
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
        if unknown := world.chance(world.plan.unknown):
            if world.rng.random() < 0.5:
                await self._apply(changes)
            raise OutcomeUnknown("simulated")
        outcomes = await self._apply(changes)
        assert not unknown
        await self.leave()
        return outcomes

    async def _apply(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Judge the changes as the shared store does, but for those whose row somebody else happens to hold."""
        world = self.world
        if any(isinstance(change, NewVersion) and UNSTORABLE in change.record.object for change in changes):
            raise ValueError("cannot be stored")
        outcomes = [BUSY] * len(changes)
        free = [index for index in range(len(changes)) if not world.chance(world.plan.busy)]
        met = [self.inner._records.get(change.run_id) for change in changes]
        for index in free:
            world.watch.before(changes[index])
        for index, outcome in zip(free, await self.inner.store([changes[index] for index in free]), strict=True):
            outcomes[index] = outcome
            world.watch.after(self.owner, changes[index], outcome, met[index])
        return outcomes

    async def lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        await self.enter()
        found = await self.inner.lookup(run_ids)
        await self.leave()
        return found

    async def latest(self, workflow_name: str, foreign_id: str) -> Record | None:
        await self.enter()
        return await self.inner.latest(workflow_name, foreign_id)

    async def list(self, query: RecordQuery) -> Sequence[Record]:
        await self.enter()
        return await self.inner.list(query)

    async def history(self, run_id: str) -> Sequence[Record]:
        await self.enter()
        return await self.inner.history(run_id)

    async def passed(self, run_id: str, status: int) -> int | None:
        await self.enter()
        return await self.inner.passed(run_id, status)

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

    async def wait_for_outbox(self, workflow_name: str) -> None:
        signal = self.inner._outbox(workflow_name).signal
        await signal.wait_beyond(self._seen.get(workflow_name, -1))
        self._seen[workflow_name] = signal.count
        await self.enter()

    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        await self.enter()
        return await self.inner.list_stalled(query)

    async def list_auto_paused(self, workflow_name: str, *, paused_before: datetime, limit: int) -> Sequence[Record]:
        await self.enter()
        return await self.inner.list_auto_paused(workflow_name, paused_before=paused_before, limit=limit)

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        await self.enter()
        await self.inner.bury(letters)

    async def dead_letters(self, workflow_name: str, *, limit: int = 100) -> Sequence[DeadLetter]:
        return await self.inner.dead_letters(workflow_name, limit=limit)


class SimTimeouts(Faulty, TimeoutStore):
    """The timeout store as one process reaches it; a write may be done although it is reported as failed."""

    def __init__(self, world: World, owner: Any) -> None:
        super().__init__(world, owner)
        self.inner = world.timeouts
        self._seen = -1

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

    async def list(self, workflow_name: str, *, run_id: str | None = None) -> Sequence[TimeoutRecord]:
        await self.enter()
        return await self.inner.list(workflow_name, run_id=run_id)

    async def wait_for_timeouts(self, workflow_name: str) -> None:
        signal = self.inner._signal(workflow_name)
        await signal.wait_beyond(self._seen)
        self._seen = signal.count
        await self.enter()
