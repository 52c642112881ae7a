"""Triggers a run at the times of a schedule, once for each slot, whatever number of processes is up.

A slot's run ID is derived from workflow, foreign ID, spec and slot, so that a slot starts at most one run even if two
processes believe to hold the role. A slot is not given up because its trigger failed; it is skipped if the filter says
so, or while the run before it is still live. After downtime there is one catch-up, never a burst.
"""

import hashlib
import uuid
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .. import _names
from .._cron import Schedule
from .._engine import Engine
from .._handlers import Handler
from .._wake import sleep_unless
from ..errors import WorkflowInProgress
from .supervisor import Process
from .tenure import Tenure

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

    @property
    def name(self) -> str:
        """The name of its process."""
        return _names.joined(self.foreign_id, "scheduler", self.spec)

    def role(self, workflow_name: str) -> str:
        """Its lock: foreign IDs that read alike ("A b", "a_b") must not share one."""
        role = _names.joined(workflow_name, self.foreign_id, "scheduler", self.spec)
        exact = f"{workflow_name}\0{self.foreign_id}\0{self.spec}\0{self.timezone}"
        return f"{role}-{zlib.crc32(exact.encode()):08x}"

    def run_id(self, workflow_name: str, slot: datetime) -> str:
        """The run ID of one slot: the same in every process."""
        key = f"{workflow_name}\0{self.foreign_id}\0{self.spec}\0{self.timezone}\0{slot.isoformat()}"
        return str(uuid.UUID(bytes=hashlib.sha256(key.encode()).digest()[:16], version=5))


def schedule_process(engine: Engine[Any, Any], scheduled: Scheduled, trigger: Trigger) -> Process:
    """The process that fires one schedule."""

    # Kept across tenures, so that a slot that came due meanwhile is not forgotten.
    last = engine.now()

    async def body(tenure: Tenure) -> None:
        nonlocal last
        last = await _last(engine, scheduled, last)
        while not tenure.leaving.is_set():
            slot = scheduled.schedule.next(last)
            await sleep_unless(tenure.leaving, engine.clock, slot)
            if tenure.leaving.is_set():
                return
            await _fire(engine, scheduled, trigger, slot)
            # Slots missed meanwhile are made up for by this one.
            last = max(slot, engine.now())

    back_off = engine.settings.options().back_off().first
    return Process(name=scheduled.name, role=scheduled.role(engine.name), body=body, back_off=back_off)


async def _last(engine: Engine[Any, Any], scheduled: Scheduled, since: datetime) -> datetime:
    """After which moment the next slot counts: the latest run's start, or what this process knows beside."""
    record = await engine.records.latest(engine.name, scheduled.foreign_id)
    return since if record is None else record.created_at


async def _fire(engine: Engine[Any, Any], scheduled: Scheduled, trigger: Trigger, slot: datetime) -> None:
    """Start the slot's run. An error leaves: the process comes back, and the slot is still due."""
    if scheduled.filter is not None and not await engine.invoker.call(scheduled.filter):
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
