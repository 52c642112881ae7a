"""Triggers a run at the times of a schedule, once for each slot, whatever number of processes is up.

A slot's run ID is derived from workflow, foreign ID, spec and slot, so that a slot starts at most one run even if two
processes believe to hold the role. A slot is not given up because its trigger failed; it is skipped if the filter says
so, or while the run before it is still live. After downtime there is one catch-up, never a burst.
"""

import asyncio
import hashlib
import uuid
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

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
        key = f"{workflow_name}\0{self.foreign_id}\0{self.spec}\0{self.timezone}\0{slot.isoformat()}"
        return str(uuid.UUID(bytes=hashlib.sha256(key.encode()).digest()[:16], version=5))


def schedule_process(engine: Engine, scheduled: Scheduled, trigger: Trigger) -> Process:
    """The process that fires one schedule."""

    began = engine.now()
    # Kept across terms: a slot that this process fired or skipped is not decided again after an error.
    decided: datetime | None = None

    async def body(term: LeaseTerm) -> None:
        nonlocal decided
        last = await _last(engine, scheduled, began)
        last = last if decided is None else max(last, decided)
        while not term.draining.is_set():
            slot = scheduled.schedule.next(last)
            await sleep_unless(term.draining, engine.clock, slot)
            if term.draining.is_set():
                return
            await _fire(engine, scheduled, trigger, slot)
            # Slots missed meanwhile are made up for by this one.
            decided = last = max(slot, engine.now())

    back_off = engine.settings.options().back_off().first
    return Process(name=scheduled.name, role=scheduled.role(engine.name), body=body, back_off=back_off)


async def _last(engine: Engine, scheduled: Scheduled, since: datetime) -> datetime:
    """After which moment the next slot counts: the start of the latest run, or without one of this process."""
    record = await engine.records.latest(engine.name, scheduled.foreign_id)
    return since if record is None else record.created_at


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
