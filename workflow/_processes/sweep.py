"""The sweeper: finds runs that owe work although nothing is coming for them, and emits their event again.

With it the promise holds even if the whole stream is lost. It must not get in the way of work that is merely waiting:
a run counts as stalled only if it was due before the oldest event that its consumer has not read yet, and before the
oldest that the relay has not sent. Each re-emission of a version doubles the wait for the next.
"""

import asyncio
from datetime import datetime
from enum import IntEnum
from typing import Any

from .._declare.handlers import statuses_of
from .._engine.engine import Engine
from .._engine.results import auto_pause
from .._engine.wake import sleep_unless
from .._model import topology
from .._model.query import StalledQuery
from .._model.record import Record
from .._model.run_state import RUNNABLE
from .._model.shard import WHOLE
from .lease_term import LeaseTerm
from .supervisor import Process

PAGE = 500
"""Runs swept at once; the next page follows at once if this one was full."""


def sweep_process(engine: Engine[Any, Any]) -> Process:
    """The process that looks for stalled runs."""
    name = topology.joined("sweep", "consumer")
    return Process(name=name, role=topology.role(engine.name, name), body=_Sweeper(engine, name).run)


class _Sweeper:
    def __init__(self, engine: Engine[Any, Any], process: str) -> None:
        self._engine, self._process = engine, process
        self._after = engine.settings.sweep_after
        definition = engine.definition
        self._steps = tuple(definition.steps)
        self._timers = statuses_of([timeout for of in definition.timeouts.values() for timeout in of])
        status_type: type[IntEnum] = definition.status_type
        self._known = tuple(int(status) for status in status_type)

    async def run(self, term: LeaseTerm) -> None:
        """Look again and again until the role must be given up."""
        while not term.draining.is_set():
            await self._sweep(term)
            await sleep_unless(term.draining, self._engine.clock, self._engine.now() + self._after / 2)

    async def _sweep(self, term: LeaseTerm) -> None:
        engine = self._engine
        now = engine.now()
        settled = await self._sent(now)
        per_status = {status: await self._unread(status, settled) for status in {*self._steps, *self._timers}}
        deletions = await self._limit(topology.delete_topic(engine.name), self._delete_consumer(), settled)
        for due_before in sorted({*per_status.values(), deletions, settled}):
            query = StalledQuery(
                workflow_name=engine.name,
                step_statuses=tuple(s for s in self._steps if per_status[s] == due_before),
                timer_statuses=tuple(s for s in self._timers if per_status[s] == due_before),
                known_statuses=self._known if due_before == settled else (),
                deletions=deletions == due_before,
                due_before=due_before,
                now=now,
                limit=PAGE,
            )
            await self._sweep_all(query, term)

    async def _sweep_all(self, query: StalledQuery, term: LeaseTerm) -> None:
        while not term.draining.is_set():
            stalled = await self._engine.records.list_stalled(query)
            # At once, so that they are written together.
            await asyncio.gather(*(self._again(record) for record in stalled))
            if len(stalled) < query.limit:
                return

    async def _again(self, record: Record) -> None:
        engine = self._engine
        if record.status not in self._known and record.run_state in RUNNABLE:
            reason = f"status {record.status} is no longer one of {engine.definition.status_type.__name__}"
            engine.logger.error("paused: %s", reason, extra=engine.extra(record, self._process))
            await engine.commits.apply(auto_pause(engine, record, reason, reason, engine.ids.attempt_id()))
            return
        engine.logger.info("stalled, its event is emitted again", extra=engine.extra(record, self._process))
        await engine.commits.apply(engine.transitions.emitted(record, swept_at=engine.now()))

    async def _sent(self, now: datetime) -> datetime:
        """Before which moment a run must have been due, so that its event cannot be waiting to be sent.

        The first events of the outbox say so, not their age: clocks that differ, or a relay that is always a little
        behind, must not keep the sweeper from what was lost.
        """
        page = await self._engine.records.list_outbox(self._engine.name, now=now, limit=2)
        return min([now - self._after, *(one.due_at or one.event.created_at for one in page.events)])

    async def _unread(self, status: int, settled: datetime) -> datetime:
        """Before which moment a run of this status must have been due, so that no consumer will still read of it."""
        topic = topology.topic(self._engine.name, status)
        consumers = []
        if status in self._steps:
            consumers.append(
                topology.consumer(topology.role(self._engine.name, status, *topology.shard_parts(WHOLE)), WHOLE)
            )
        if status in self._timers:
            consumers.append(topology.role(self._engine.name, status, "timeout-auto-inserter-consumer"))
        limits = [await self._limit(topic, consumer, settled) for consumer in consumers]
        return min(limits)

    def _delete_consumer(self) -> str:
        return topology.role(self._engine.name, "delete", "consumer")

    async def _limit(self, topic: str, consumer: str, settled: datetime) -> datetime:
        oldest = await self._engine.stream.lag(topic, consumer)
        return settled if oldest is None else min(settled, oldest)
