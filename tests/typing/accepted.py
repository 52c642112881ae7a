"""Never run: what users write must pass mypy --strict and pyright."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Literal, assert_type

from workflow import Builder, ConnectorEvent, Decision, Options, Run, Workflow
from workflow_adapters.memory import MemoryBackend, MemoryConnector


class Status(IntEnum):
    A = 1
    B = 2
    C = 3


@dataclass
class Cart:
    total: int = 0


builder = Builder("cart", Cart, Status)
assert_type(builder, Builder[Cart, Status])


@builder.step(Status.A)
async def literal(run: Run[Cart, Status]) -> Literal[Status.B, Status.C] | Decision:
    if run.object.total:
        return Status.B
    if run.attempt > 3:
        return run.cancel("too often")
    return Status.C


@builder.step(Status.B, to=Status.C, options=Options(parallel_count=2))
def plain(run: Run[Cart, Status]) -> Status:
    return Status.C


@builder.callback(Status.A)
async def typed_payload(run: Run[Cart, Status], payload: Cart) -> Literal[Status.B]:
    return Status.B


@builder.callback(Status.A, to=[Status.B, Status.C])
def raw_payload(run: Run[Cart, Status], payload: bytes) -> Status:
    return Status.B


@builder.timeout(Status.A, timedelta(hours=1))
async def expired(run: Run[Cart, Status], now: datetime) -> Literal[Status.C] | Decision:
    return Status.C


async def when(run: Run[Cart, Status], now: datetime) -> datetime | None:
    return now if run.object.total else None


@builder.timeout(Status.A, when)
def late(run: Run[Cart, Status], now: datetime) -> Literal[Status.C]:
    return Status.C


@builder.connector("feed", MemoryConnector())
async def feed(wf: Workflow[Cart, Status], event: ConnectorEvent) -> None:
    await wf.trigger(event.foreign_id, Cart(total=1))


@builder.on_complete
async def told(run: Run[Cart, Status]) -> None:
    assert_type(run.object, Cart)


async def main() -> None:
    wf = builder.build(MemoryBackend())
    assert_type(wf, Workflow[Cart, Status])
    async with wf.running() as running:
        assert_type(running, Workflow[Cart, Status])
        run_id: str = await running.trigger("cart-1", Cart())
        run = await running.wait_for("cart-1", Status.C, run_id=run_id, timeout=timedelta(seconds=1))
        assert_type(run.status, Status)
        runs: Sequence[Run[Cart, Status]] = await running.list(statuses=[Status.A])
        assert_type(await literal(runs[0]), Status | Decision)


asyncio.run(main())
