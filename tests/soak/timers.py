"""Many timers become due in a short time: each fires once, in time."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from tests.postgres.database import connected
from tests.soak.load import persistent
from tests.soak.model import Status, Work
from tests.soak.stores import opened
from workflow import Builder, Options, Run, RunState
from workflow.protocols import RecordStore
from workflow.verify import verify

__all__ = ["Timers", "fire_timers"]

_AT_ONCE = 500
_PAGE = 2_000
_PATIENCE = 300.0


class Timers(msgspec.Struct, frozen=True, kw_only=True):
    """How it went; that it returns at all means that each fired once.

    Attributes:
        timers: how many.
        window: seconds within which they became due.
        calls: how often their function was called: more than timers only where an attempt was repeated.
        worst, median: seconds from due to fired.
        took: seconds from the first one due to the last one fired.
    """

    timers: int
    window: float
    calls: int
    worst: float
    median: float
    took: float

    def __str__(self) -> str:
        return (
            f"{self.timers:,} timers due within {self.window:g} s: each fired once ({self.calls:,} calls), "
            f"{self.median:.2f} s after it was due in the median, {self.worst:.2f} s at worst; all in {self.took:.1f} s"
        )


class _Clockwork:
    """A workflow whose runs have one timer each, due as their foreign IDs say."""

    def __init__(self) -> None:
        self.first = datetime.max.replace(tzinfo=UTC)
        self.spacing = timedelta(0)
        self.late: list[float] = []
        self.builder = Builder("timers", Work, Status)

        def due(run: Run[Work, Status], entered: datetime) -> datetime:
            return self.first + int(run.foreign_id) * self.spacing

        @self.builder.timeout(Status.S1, due, options=Options(max_in_flight=500))
        async def fire(run: Run[Work, Status], now: datetime) -> Literal[Status.DONE]:
            self.late.append((datetime.now(UTC) - due(run, now)).total_seconds())
            return Status.DONE


async def fire_timers(store: str, schema: str, *, timers: int, window: float, ahead: float) -> Timers:
    """Trigger so many runs whose timers are due within a window that begins `ahead` seconds from now.

    Raises:
        AssertionError: one fired twice or not at all, or they were not armed in time.
    """
    clockwork = _Clockwork()
    clockwork.first = datetime.now(UTC) + timedelta(seconds=ahead)
    clockwork.spacing = timedelta(seconds=window / timers)
    async with opened(store, schema, 10) as backend, clockwork.builder.build(backend).running() as wf:
        numbers = iter(range(timers))

        async def some() -> None:
            for number in numbers:
                await persistent(lambda number=number: wf.trigger(str(number), run_id=f"run-{number}"))  # type: ignore[misc]

        await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
        async with connected(store) as beside:
            while (await beside.fetchval(f'select count(*) from "{schema}".timeouts') or 0) < timers:
                assert datetime.now(UTC) < clockwork.first, "not all are armed before the first is due: give more time"
                await asyncio.sleep(0.2)
        assert not clockwork.late
        await asyncio.sleep((clockwork.first - datetime.now(UTC)).total_seconds())
        began = time.monotonic()
        while len(clockwork.late) < timers:
            assert time.monotonic() - began < _PATIENCE, f"{len(clockwork.late)} of {timers} fired"
            await asyncio.sleep(0.02)
        await _all_ended(backend.record_store, timers)
        took = time.monotonic() - began
        report = await verify(backend.record_store, wf)
    assert report.ok, str(report)
    assert report.by_run_state == {RunState.COMPLETED: timers}, str(report)
    assert report.versions == 2 * timers, "each fired once"
    late = sorted(clockwork.late)
    return Timers(timers=timers, window=window, calls=len(late), worst=late[-1], median=late[len(late) // 2], took=took)


async def _all_ended(store: RecordStore, count: int) -> None:
    for start in range(0, count, _PAGE):
        some = [f"run-{number}" for number in range(start, min(start + _PAGE, count))]
        while not all(record.run_state.finished for record in (await store.lookup(some)).values()):
            await asyncio.sleep(0.02)
