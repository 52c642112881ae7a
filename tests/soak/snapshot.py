"""Work while somebody holds a snapshot open, so that no dead row can be removed: it must not become slower."""

import asyncio
import statistics
import time
from collections.abc import Sequence

import msgspec

from tests.postgres.database import connected
from tests.soak.model import STEPS, Status, Work, declare
from tests.soak.stores import opened
from workflow import Workflow

__all__ = ["Snapshot", "hold_snapshot"]

_RUNS = 500
"""Runs of one round."""
_ALONE = 30


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """How fast it was before a snapshot was held and while it was.

    Attributes:
        free, held: steps per second, round by round.
        dead: dead rows that nothing could remove at the end, in all tables.
        alone_free, alone_held: milliseconds that one run of five steps takes when nothing else goes on, the median.
    """

    free: Sequence[float]
    held: Sequence[float]
    dead: int
    alone_free: float
    alone_held: float

    @property
    def slowdown(self) -> float:
        """The speed of the last third of the rounds with the snapshot, as a share of that without."""
        third = max(1, len(self.held) // 3)
        return statistics.median(self.held[-third:]) / statistics.median(self.free)

    def __str__(self) -> str:
        return (
            f"{statistics.median(self.free):,.0f} steps/s without a snapshot; held for {len(self.held)} rounds of "
            f"{_RUNS} runs, {self.slowdown:.2f} of it at the end, with {self.dead:,} dead rows that nothing could "
            f"remove; five steps alone: {self.alone_free:.1f} ms without, {self.alone_held:.1f} ms at the end"
        )


class _Rounds:
    """Runs of a workflow that is running, numbered on and on."""

    def __init__(self, wf: Workflow[Work, Status]) -> None:
        self._wf = wf
        self._number = 0

    async def _run(self) -> None:
        self._number += 1
        key = f"run-{self._number}"
        await self._wf.trigger(key)
        await self._wf.wait_for(key, Status.DONE)

    async def full(self) -> float:
        """Steps per second of a round."""
        began = time.monotonic()
        await asyncio.gather(*(self._run() for _ in range(_RUNS)))
        return _RUNS * STEPS / (time.monotonic() - began)

    async def alone(self) -> float:
        """Milliseconds of a run, the median of some that follow each other."""
        took = []
        for _ in range(_ALONE):
            began = time.monotonic()
            await self._run()
            took.append(1000 * (time.monotonic() - began))
        return statistics.median(took)


async def hold_snapshot(store: str, schema: str, *, seconds: float) -> Snapshot:
    """Work for a fifth of that time without a snapshot, then for the rest with one."""
    async with opened(store, schema, 10) as backend, declare().build(backend).running() as wf:
        rounds = _Rounds(wf)
        await rounds.full()  # connections, plans
        alone_free = await rounds.alone()
        end = time.monotonic() + seconds / 5
        free = []
        while time.monotonic() < end:
            free.append(await rounds.full())
        async with connected(store) as beside, beside.transaction(isolation="repeatable_read"):
            await beside.fetchval("select 1")
            end = time.monotonic() + seconds * 4 / 5
            held = []
            while time.monotonic() < end:
                held.append(await rounds.full())
            alone_held = await rounds.alone()
            dead = await _dead(store, schema)
    return Snapshot(free=free, held=held, dead=dead, alone_free=alone_free, alone_held=alone_held)


async def _dead(store: str, schema: str) -> int:
    async with connected(store) as connection:
        return int(
            await connection.fetchval("select sum(n_dead_tup) from pg_stat_user_tables where schemaname = $1", schema)
            or 0
        )
