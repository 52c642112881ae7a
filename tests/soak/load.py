"""Runs fed to workers while something goes wrong, and the judgement afterwards: nothing lost, nothing twice."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from tests.soak.model import Status, Work
from workflow import RunState, Workflow
from workflow.errors import OutcomeUnknown, Unavailable
from workflow.protocols import RecordStore
from workflow.verify import verify

__all__ = ["Load", "persistent"]

_AT_ONCE = 100
_PAGE = 1_000


T = TypeVar("T")


async def persistent(ask: Callable[[], Awaitable[T]]) -> T:
    """What `ask` returns, asked again while the store is away."""
    while True:
        try:
            return await ask()
        except (Unavailable, OutcomeUnknown):
            await asyncio.sleep(0.05)


class Load:
    """A number of runs of one workflow.

    Attributes:
        acknowledged: the runs whose trigger returned, which may never be lost.
    """

    def __init__(self, wf: Workflow[Work, Status], store: RecordStore, count: int) -> None:
        self.wf, self.store, self.count = wf, store, count
        self.acknowledged: dict[str, int] = {}

    async def feed(self) -> None:
        """Trigger every run, each as often as it takes."""
        numbers = iter(range(self.count))

        async def some() -> None:
            for number in numbers:
                await self.trigger(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(some())

    async def trigger(self, number: int) -> str:
        """Trigger one run, as often as it takes; its run ID."""
        run_id = f"run-{number}"
        await persistent(lambda: self.wf.trigger(run_id, run_id=run_id))
        self.acknowledged[run_id] = 1
        return run_id

    async def ended(self, ended: Callable[[], Awaitable[int]], *, at_least: int | None = None, within: float) -> float:
        """Wait until so many runs have ended (all, if not given), as `ended` counts them; the seconds it took.

        Raises:
            AssertionError: not in time; says how many had.
        """
        wanted, began, count = self.count if at_least is None else at_least, time.monotonic(), 0
        while count < wanted:
            spent = time.monotonic() - began
            assert spent < within, f"{count} of {wanted} runs ended within {within:g} s; states: {self.wf.states()}"
            await asyncio.sleep(0.05)
            count = await ended()
        return time.monotonic() - began

    async def judge(self) -> None:
        """Every run has ended and took each step once, and none that was acknowledged is missing."""
        now = datetime.now(UTC)
        report = await verify(self.store, self.wf, acknowledged=self.acknowledged, due_before=now)
        assert report.ok, str(report)
        assert report.by_run_state == {RunState.COMPLETED: self.count}, str(report)
        seen = 0
        while seen < self.count:
            runs = await self.wf.list(offset=seen, limit=_PAGE)
            for run in runs:
                first = Status.DONE - len(run.object.trail)
                assert run.object.trail == list(range(first, Status.DONE)), run
            seen += len(runs)
        assert report.versions == self.count * (len(runs[0].object.trail) + 1), "a version for each step, and no more"
