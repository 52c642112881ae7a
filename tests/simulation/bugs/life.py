"""Bugs of holding roles and of stopping."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from workflow._engine.invoker import Invoker
from workflow._processes import consumer
from workflow._processes import lease_term as term
from workflow._processes.supervisor import Supervisor

from .plant import bug


@bug("swallowed cancel", needs=lambda plan: bool(plan.stops))
def _swallowed_cancel() -> Iterator[None]:
    async def call(self: Any, handler: Any, *args: Any, timeout: timedelta | None = None) -> Any:
        if timeout is None:
            return await handler.call(*args)
        async with asyncio.timeout(timeout.total_seconds()):
            return await handler.call(*args)

    with patch.object(Invoker, "call", call):
        yield


@bug("drain that never ends", needs=lambda plan: bool(plan.stops))
def _endless_drain() -> Iterator[None]:
    async def drain(self: Any, tasks: Any) -> None:
        if running := [task for task in tasks if not task.done()]:
            await asyncio.wait(running)

    def hang(real: Any) -> Any:
        async def call(self: Any, handler: Any, *args: Any, timeout: timedelta | None = None) -> Any:
            return await real(self, handler, *args)

        return call

    # The handler's own limit would end it; the drain must do so without that.
    with patch.object(term.LeaseTerm, "drain", drain), patch.object(Invoker, "call", hang(Invoker.call)):
        yield


@bug("a lost lease does not end the work", needs=lambda plan: plan.lost_leases)
def _works_on() -> Iterator[None]:
    async def work(self: Any, process: Any, seat: Any, lease: Any) -> None:
        held = seat.term = term.LeaseTerm(lease, self._drain_time or 30.0)
        if not self.stopping.is_set():
            await process.body(held)

    with patch.object(Supervisor, "_work", work):
        yield


@bug("a role is given up before its work has ended", needs=lambda plan: plan.stops or plan.lost_leases)
def _given_up_early() -> Iterator[None]:
    async def nothing(*args: Any) -> None:
        return None

    with patch.object(term.LeaseTerm, "drain", nothing), patch.object(consumer, "end", nothing):
        yield
