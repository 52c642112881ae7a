"""Bugs of the relay: events on their way from the outbox to the stream."""

import asyncio
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from workflow._engine.transitions import Transitions
from workflow._engine.wake import Wake
from workflow._model.event import OutboxPage
from workflow._processes.outbox import _Relay
from workflow.errors import Unavailable
from workflow_adapters.memory.outbox import _OneOutbox

from .plant import bug, stuck_without_sweeper


@bug("an event leaves the outbox before the stream has it", needs=stuck_without_sweeper)
def _removed_first() -> Iterator[None]:
    real = _Relay._send

    async def send(self: Any, waiting: Any) -> None:
        await self._engine.records.delete_outbox([one.id for one in waiting])
        await real(self, waiting)

    with patch.object(_Relay, "_send", send):
        yield


@bug("a wake-up flag cleared after reading", needs=lambda plan: plan.liveness)
def _cleared_late() -> Iterator[None]:
    real = Wake.sleep

    async def sleep(self: Any, **limits: Any) -> None:
        await asyncio.sleep(0.02)
        self.clear()
        await real(self, **limits)

    with patch.object(Wake, "sleep", sleep):
        yield


@bug("an event due at once carries its time", needs=lambda plan: plan.skew and plan.liveness)
def _timed() -> Iterator[None]:
    real = Transitions._new_version

    def move(self: Any, *args: Any) -> Any:
        made = real(self, *args)
        return replace(made, due_at=made.record.due_at)

    with patch.object(Transitions, "_new_version", move):
        yield


@bug("due events starve immediate ones", needs=lambda plan: plan.laggards and plan.liveness)
def _due_first() -> Iterator[None]:
    real = _OneOutbox.page

    def page(self: Any, now: Any, limit: int) -> OutboxPage:
        whole = real(self, now, 1000)
        events = sorted(whole.events, key=lambda one: one.due_at is None)
        return OutboxPage(tuple(events[:limit]), whole.next_due)

    with patch.object(_OneOutbox, "page", page):
        yield


@bug("a refused event holds up the others", needs=lambda plan: plan.liveness and "unsendable" in plan.extra)
def _holds_up() -> Iterator[None]:
    async def bury(self: Any, refused: Any, why: str) -> None:
        raise Unavailable(why)

    with patch.object(_Relay, "_put_aside", bury):
        yield


@bug("a refused event is thrown away", needs=lambda plan: plan.liveness and "unsendable" in plan.extra)
def _thrown_away() -> Iterator[None]:
    async def bury(self: Any, refused: Any, why: str) -> None:
        return None

    with patch.object(_Relay, "_put_aside", bury):
        yield
