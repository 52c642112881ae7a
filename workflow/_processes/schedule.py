"""Triggers a run at the times of a schedule, once for each slot, whatever number of processes is up.

A slot's run ID is derived from workflow, foreign ID, spec and slot, so that a slot starts at most one run even if two
processes believe to hold the role. A slot is not given up because its trigger failed; it is skipped if the filter says
so, or while the run before it is still live. After downtime there is one catch-up, never a burst.

A slot is settled once it was fired or skipped. Up to which moment slots are settled is kept in a memo, so that the next
holder of the role does not decide about a skipped slot again.
"""

import asyncio
import hashlib
import uuid
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .._declare.cron import Schedule
from .._declare.handlers import Handler, ScheduleDeclaration
from .._engine.engine import Engine
from .._engine.wake import sleep_unless
from .._model import topology
from ..errors import WorkflowInProgress
from .lease_term import LeaseTerm
from .supervisor import Process

Trigger = Callable[[str], Awaitable[object]]
"""Starts the run of one slot, given its run ID."""

AHEAD = timedelta(hours=1)
"""How far ahead of the clock a settled slot may lie: by so much clocks of machines differ. More was a wrong clock."""
LOOK = timedelta(minutes=10)
"""How often to look whether the clock was set back while a slot is waited for."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A schedule that has been checked."""

    foreign_id: str
    spec: str
    timezone: str
    schedule: Schedule
    filter: Handler | None

    @staticmethod
    def of(declared: ScheduleDeclaration) -> "Scheduled":
        """A declared schedule, its spec read.

        Raises:
            ScheduleError: the spec or the time zone cannot be used.
        """
        schedule = Schedule.parse(declared.spec, declared.timezone)
        return Scheduled(declared.foreign_id, declared.spec, declared.timezone, schedule, declared.filter)

    @property
    def name(self) -> str:
        """The name of its process."""
        zone = () if self.timezone == "UTC" else (self.timezone,)
        return topology.joined(self.foreign_id, "scheduler", self.spec, *zone)

    def role(self, workflow_name: str) -> str:
        """Its lock: foreign IDs that read alike ("A b", "a_b") must not share one."""
        role = topology.joined(workflow_name, self.foreign_id, "scheduler", self.spec)
        exact = f"{workflow_name}\0{self.foreign_id}\0{self.spec}\0{self.timezone}"
        return f"{role}-{zlib.crc32(exact.encode()):08x}"

    def run_id(self, workflow_name: str, slot: datetime) -> str:
        """The run ID of one slot: the same in every process."""
        return self._id(workflow_name, slot.isoformat())

    def memo(self, workflow_name: str) -> str:
        """The key of the memo that says up to which moment its slots are settled."""
        return f"schedule {self._id(workflow_name, 'settled')}"

    def _id(self, workflow_name: str, what: str) -> str:
        key = f"{workflow_name}\0{self.foreign_id}\0{self.spec}\0{self.timezone}\0{what}"
        return str(uuid.UUID(bytes=hashlib.sha256(key.encode()).digest()[:16], version=5))


def schedule_process(engine: Engine, scheduled: Scheduled, trigger: Trigger) -> Process:
    """The process that fires one schedule."""

    slots = _Slots(engine, scheduled)

    async def body(term: LeaseTerm) -> None:
        await slots.remember()
        while not term.draining.is_set():
            slot = slots.next()
            await sleep_unless(term.draining, engine.clock, slot, at_most=LOOK)
            if term.draining.is_set():
                return
            if slot <= engine.now():
                await _fire(engine, scheduled, trigger, slot)
                await slots.settle(slot)

    back_off = engine.settings.options().back_off().first
    return Process(name=scheduled.name, role=scheduled.role(engine.name), body=body, back_off=back_off)


class _Slots:
    """Which slot comes next: the first one after the moment up to which all are settled."""

    def __init__(self, engine: Engine, scheduled: Scheduled) -> None:
        self._engine, self._scheduled = engine, scheduled
        self._key = scheduled.memo(engine.name)
        self._last = engine.now()
        # Kept across terms: a slot that this process fired or skipped is not decided again after an error.
        self._decided: datetime | None = None

    async def remember(self) -> None:
        """Learn what earlier holders of the role have settled.

        That is said by the memo, and by the start of the latest run: its memo may not have been written. Without
        either, slots count from the start of this process.
        """
        records, name = self._engine.records, self._engine.name
        kept = await records.memo(name, self._key)
        settled = datetime.fromisoformat(kept) if kept else None
        latest = await records.latest(name, self._scheduled.foreign_id)
        known = (settled, None if latest is None else latest.created_at, self._decided)
        possible = [moment for moment in known if moment is not None and self._possible(moment)]
        self._last = max(possible, default=self._last)
        if self._decided is not None and self._decided == self._last and self._decided != settled:
            await self._keep(self._decided)

    def next(self) -> datetime:
        """The next slot."""
        if not self._possible(self._last):
            self._last = self._engine.now()
        return self._scheduled.schedule.next(self._last)

    async def settle(self, slot: datetime) -> None:
        """This slot was fired or skipped; it makes up for those that were missed until now."""
        self._decided = self._last = max(slot, self._engine.now())
        await self._keep(self._decided)

    async def _keep(self, moment: datetime) -> None:
        await self._engine.records.keep_memo(self._engine.name, self._key, moment.astimezone(UTC).isoformat())

    def _possible(self, moment: datetime) -> bool:
        """False for what a clock said that was far ahead: it would silence the schedule until then."""
        return moment <= self._engine.now() + AHEAD


async def _asked(engine: Engine, filter_: Handler) -> object:
    """The answer of the filter, called in a task and so in a context of its own."""
    return await asyncio.get_running_loop().create_task(engine.invoker.call(filter_))


async def _fire(engine: Engine, scheduled: Scheduled, trigger: Trigger, slot: datetime) -> None:
    """Start the slot's run. An error leaves: the process comes back, and the slot is still due."""
    if scheduled.filter is not None and not await _asked(engine, scheduled.filter):
        return
    try:
        await trigger(scheduled.run_id(engine.name, slot))
    except WorkflowInProgress as error:
        engine.logger.info(
            "slot %s skipped: %s",
            slot.isoformat(),
            error,
            extra={"workflow": engine.name, "process_name": scheduled.name},
        )
