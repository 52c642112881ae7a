"""The sweeper: finds runs that owe work although nothing is coming for them, and emits their event again.

With it the promise holds even if the whole stream is lost. It must not get in the way of work that is merely waiting:
a run counts as stalled only if it was due before the oldest event that its consumer has not read yet, and before the
oldest that the relay has not sent. Each re-emission of a version doubles the wait for the next.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import IntEnum
from typing import TypeAlias

from msgspec.structs import replace

from .._declare.handlers import statuses_of
from .._engine.engine import Engine
from .._engine.results import auto_pause
from .._engine.wake import Wake
from .._model import topology
from .._model.moments import earlier, later
from .._model.query import StalledQuery
from .._model.record import Record, VersionCause
from .._model.run_state import RUNNABLE
from .lease_term import LeaseTerm
from .page_size import PageSize
from .supervisor import Process

PAGE = 500
"""Runs swept at once at most; the next page follows at once if this one was full."""

LATELY = timedelta(hours=1)
"""How long a release that is gone still counts: it may only be restarting."""

HURRIED = timedelta(seconds=5)
"""How long a run must have been due, in the minute after the store went back in time."""

_Reading: TypeAlias = tuple[str, str]
"""A topic, and the name of a consumer that reads it."""


def sweep_process(engine: Engine) -> Process:
    """The process that looks for stalled runs."""
    name = topology.joined("sweep", "consumer")
    return Process(name=name, role=topology.role(engine.name, name), body=_Sweeper(engine, name).run)


class _Sweeper:
    def __init__(self, engine: Engine, process: str) -> None:
        self._engine, self._process = engine, process
        self._page = PageSize(PAGE)
        self._after = engine.settings.sweep_after
        definition = engine.definition
        self._steps = tuple(definition.steps)
        self._timers = statuses_of([timeout for of in definition.timeouts.values() for timeout in of])
        status_type: type[IntEnum] = definition.status_type
        self._known = tuple(int(status) for status in status_type)
        self._readings = {status: self._readings_of(status) for status in {*self._steps, *self._timers}}
        self._deletions: _Reading = (topology.delete_topic(engine.name), topology.delete_consumer(engine.name))

    def _readings_of(self, status: int) -> tuple[_Reading, ...]:
        name = self._engine.name
        topic = topology.topic(name, status)
        step = ((topic, topology.step_consumer(name, status)),) if status in self._steps else ()
        timers = ((topic, topology.timer_consumer(name, status)),) if status in self._timers else ()
        return (*step, *timers)

    async def run(self, term: LeaseTerm) -> None:
        """Look again and again until the role must be given up."""
        engine = self._engine
        wake = Wake(engine.clock)
        ending = asyncio.ensure_future(_when(term.draining, wake))
        try:
            with engine.rewinds.told(wake.set):
                while not term.draining.is_set():
                    wake.clear()
                    await self._sweep(term)
                    if not term.draining.is_set():
                        await wake.sleep(until=later(engine.now(), self._patience / 2))
        finally:
            ending.cancel()

    @property
    def _patience(self) -> timedelta:
        """How long a run may have been due; short while everything that was to come may have been lost."""
        return min(self._after, HURRIED) if self._engine.rewinds.hurry else self._after

    async def _sweep(self, term: LeaseTerm) -> None:
        """Sweep the statuses together that have the same limit: runs due before it have no unread event."""
        engine = self._engine
        now = engine.now()
        settled = await self._sent(now)
        unread = await self._unread(settled)
        # A newer release that is being deployed may have put a run where only it can go on.
        known = (*self._known, *await self._known_to_others())
        limits = {status: self._limit(status, unread, settled) for status in {*self._steps, *self._timers}}
        deletions = unread.get(self._deletions, settled)
        for due_before in sorted({*limits.values(), deletions, settled}):
            query = StalledQuery(
                workflow_name=engine.name,
                step_statuses=tuple(s for s in self._steps if limits[s] == due_before),
                timer_statuses=tuple(s for s in self._timers if limits[s] == due_before),
                known_statuses=known if due_before == settled else (),
                deletions=deletions == due_before,
                due_before=due_before,
                now=now,
                limit=self._page.limit,
            )
            await self._sweep_all(query, term)

    async def _sweep_all(self, query: StalledQuery, term: LeaseTerm) -> None:
        while not term.draining.is_set():
            stalled = await self._engine.records.list_stalled(query)
            self._page.saw(stalled)
            # At once, so that they are written together.
            await asyncio.gather(*(self._again(record) for record in stalled))
            if len(stalled) < query.limit:
                return
            query = replace(query, limit=self._page.limit)

    async def _again(self, record: Record) -> None:
        engine = self._engine
        if record.status not in self._known and record.run_state in RUNNABLE:
            reason = f"status {record.status} is no longer one of {engine.definition.status_type.__name__}"
            engine.logger.error("paused: %s", reason, extra=engine.extra(record, self._process))
            await engine.commits.apply(auto_pause(engine, record, reason, reason, engine.stamp(VersionCause.SWEEP)))
            return
        engine.logger.info("stalled, its event is emitted again", extra=engine.extra(record, self._process))
        await engine.commits.apply(engine.transitions.emitted(record, reemitted_at=engine.now()))

    async def _known_to_others(self) -> set[int]:
        """The statuses of every release of this workflow that ran within the last hour."""
        published = [one for one in await self._engine.records.workflows() if one.info.name == self._engine.name]
        # By the store's clock; this process publishes too, so the newest is about now.
        now = max((one.last_at for one in published), default=None)
        lately = [one for one in published if now is not None and now - one.last_at <= LATELY]
        return {status.number for one in lately for status in one.info.statuses}

    async def _sent(self, now: datetime) -> datetime:
        """Before which moment a run must have been due, so that its event cannot be waiting to be sent.

        The first events of the outbox say so, not their age: clocks that differ, or a relay that is always a little
        behind, must not keep the sweeper from lost runs.
        """
        page = await self._engine.records.list_outbox(self._engine.name, now=now, limit=2)
        return min([earlier(now, self._patience), *(one.due_at or one.event.created_at for one in page.events)])

    async def _unread(self, settled: datetime) -> Mapping[_Reading, datetime]:
        """For each consumer that has unread events, the moment of the oldest (or `settled`, if that is earlier)."""
        readings = [*(one for of in self._readings.values() for one in of), self._deletions]
        backlogs = await self._engine.stream.backlog(readings)
        return {
            reading: min(settled, backlog.oldest) for reading, backlog in backlogs.items() if backlog.oldest is not None
        }

    def _limit(self, status: int, unread: Mapping[_Reading, datetime], settled: datetime) -> datetime:
        return min([settled, *(unread[one] for one in self._readings[status] if one in unread)])


async def _when(event: asyncio.Event, wake: Wake) -> None:
    await event.wait()
    wake.set()
