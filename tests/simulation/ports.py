"""Every process's own way to the shared store: delayed, interrupted, ambiguous; closed for ever once it is dead."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from workflow._change import Change, Emit, Mark, Move, Outcome
from workflow._record import Record, RecordQuery, StalledQuery, TimeoutPage, TimeoutRecord
from workflow._runstate import RunState
from workflow.errors import OutcomeUnknown, Unavailable
from workflow.protocols import DeadLetter, OutboxPage, RecordStore, TimeoutStore

from .world import World

SETTLED = 15.0
"""Seconds after which a sweeper's reading can no longer explain that it did not know."""


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
        if self.gone() or world.chance(world.plan.unavailable):
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
        self._seen: dict[str, int] = {}

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
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
        for change in changes:
            if isinstance(change, Emit) and change.swept_at is not None:
                self._watch_sweeper(change)
        outcomes = await self.inner.store(changes)
        for change, outcome in zip(changes, outcomes, strict=True):
            self._observe(change, outcome)
        return outcomes

    def _observe(self, change: Change, outcome: Outcome) -> None:
        world, record = self.world, self.inner._records.get(change.run_id)
        version = change.record.version if isinstance(change, Move) else change.version
        kind = type(change).__name__.lower()
        who = "client" if self.owner is None else self.owner.name
        world.note(f"{who} {kind} {change.run_id[:8]} v{version} {outcome.verdict.name}")
        if isinstance(change, Mark) and change.skipped and outcome.ok:
            world.skipped_at[change.run_id, version] = world.loop.time()
        if isinstance(change, Move) and version == 1 and record is not None:
            live = [
                r.run_id for r in self.inner._records.values() if r.foreign_id == record.foreign_id and r.run_state.live
            ]
            if len(live) > 1:
                world.complain("two live runs", f"{record.foreign_id} {live}")

    def _watch_sweeper(self, emit: Emit) -> None:
        world, record = self.world, self.inner._records.get(emit.run_id)
        if record is None or record.version != emit.version or record.run_state is RunState.REQUESTED_DATA_DELETED:
            return
        now = world.loop.time()
        skipped = world.skipped_at.get((emit.run_id, emit.version))
        if skipped is not None and now - skipped > SETTLED and record.armed:
            world.complain("sweeper re-runs a skipped step", f"{emit.run_id} v{emit.version}")
        times = world.swept[emit.run_id, emit.version]
        times.append(now)
        if len(times) > 12:
            world.complain("sweeper floods", f"{emit.run_id} v{emit.version} swept at {times}")
        if world.stream.unread(emit.event, older_than=now - SETTLED):
            world.complain("sweeper floods a backlog", f"{emit.run_id} v{emit.version} is unread in the stream")

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
