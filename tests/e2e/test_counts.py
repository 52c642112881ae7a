"""A step that two running workflows cut into different numbers of shards: each run is handled once."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, Options, Run
from workflow.protocols import Backend

RUNS = 60


@pytest.mark.parametrize("counts", [(2, 4), (4, 2), (3, 2), (1, 3)])
async def test_two_counts_side_by_side_handle_each_run_once(backend: Backend, counts: tuple[int, int]) -> None:
    calls: Counter[str] = Counter()
    builder = Builder("counts", Thing, Status)

    @builder.step(Status.A)
    async def first(run: Run[Thing, Status]) -> Literal[Status.B]:
        calls[run.idempotency_key] += 1
        await asyncio.sleep(0.005)
        return Status.B

    @builder.step(Status.B)
    async def second(run: Run[Thing, Status]) -> Literal[Status.C]:
        calls[run.idempotency_key] += 1
        return Status.C

    one, other = (builder.build(backend, default_options=Options(parallel_count=count)) for count in counts)
    async with AsyncExitStack() as stack:
        async with one.running():
            await stack.enter_async_context(other.running())
            await asyncio.gather(*(one.trigger(f"both {n}") for n in range(RUNS)))
            await asyncio.gather(*(other.wait_for(f"both {n}", Status.C, timeout=PATIENCE) for n in range(RUNS)))
        # The other takes over.
        await asyncio.gather(*(other.trigger(f"one {n}") for n in range(RUNS)))
        await asyncio.gather(*(other.wait_for(f"one {n}", Status.C, timeout=PATIENCE) for n in range(RUNS)))
    assert set(calls.values()) == {1}
    assert len(calls) == 2 * 2 * RUNS
