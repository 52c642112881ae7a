"""Ports that a test can cut off or slow down, and a workflow on them, in virtual time."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from tests.e2e.model import Status, Thing
from tests.e2e.virtual import clock
from workflow import Builder, Run, Unavailable, Workflow
from workflow._model.change import Change, Outcome
from workflow._model.timer import TimeoutRecord
from workflow.protocols import Backend, Page, TimeoutQuery
from workflow_adapters.memory import (
    MemoryEventStreamer,
    MemoryRecordStore,
    MemoryRoleScheduler,
    MemoryTimeoutStore,
)


class Records(MemoryRecordStore):
    """Counts its writes; can be cut off, or return too little."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = self.broken = False
        self.writes = 0

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        if self.cut:
            raise Unavailable("cut off by the test")
        self.writes += 1
        await asyncio.sleep(0.01)
        outcomes = await super().store(changes)
        return outcomes[1:] if self.broken else outcomes


class Timeouts(MemoryTimeoutStore):
    """Can be cut off for a listing, and be slow with postponing beyond the time of expiry."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = False
        self.postponing, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()

    async def list(self, query: TimeoutQuery) -> Page[TimeoutRecord]:
        if self.cut:
            raise Unavailable("cut off by the test")
        return await super().list(query)

    async def postpone(self, timeouts: Sequence[TimeoutRecord]) -> None:
        if any(timeout.due_at > timeout.expire_at for timeout in timeouts):
            self.postponing.set()
            await self.go_on.wait()
        await super().postpone(timeouts)


class Ports:
    """A backend of them."""

    def __init__(self) -> None:
        self.records, self.timeouts = Records(), Timeouts()
        self.backend = Backend(self.records, MemoryEventStreamer(), MemoryRoleScheduler(), self.timeouts)


def waiting(ports: Ports, **options: Any) -> Workflow[Thing, Status]:
    """A waits for a callback to B, or an hour for C."""
    builder = Builder("waiting", Thing, Status)

    @builder.callback(Status.A)
    async def go(run: Run[Thing, Status], payload: bytes) -> Literal[Status.B]:
        return Status.B

    @builder.timeout(Status.A, timedelta(hours=1))
    async def late(run: Run[Thing, Status], now: datetime) -> Literal[Status.C]:
        return Status.C

    return builder.build(ports.backend, clock=clock(), **options)
