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
        self._ended: set[str] = set()

    async def feed(self, over: float = 0.0) -> None:
        """Trigger every run, each as often as it takes, spread over so many seconds."""
        numbers = iter(range(self.count))
        began = asyncio.get_running_loop().time()

        async def some() -> None:
            for number in numbers:
                await asyncio.sleep(began + over * number / self.count - asyncio.get_running_loop().time())
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

    async def count_ended(self) -> int:
        """How many of the acknowledged runs have ended."""
        live = list(self.acknowledged.keys() - self._ended)
        for start in range(0, len(live), _PAGE):
            records = await persistent(lambda some=live[start : start + _PAGE]: self.store.lookup(some))  # type: ignore[misc]
            self._ended.update(run_id for run_id, record in records.items() if record.run_state is RunState.COMPLETED)
        return len(self._ended)

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

    async def judge(self) -> int:
        """Every run has ended and took each step once, and none that was acknowledged is missing.

        Returns how many versions are notes of attempts that failed, because the process at work on them died.
        """
        now = datetime.now(UTC)
        report = await verify(self.store, self.wf, acknowledged=self.acknowledged, due_before=now)
        assert report.ok, str(report)
        assert report.by_run_state == {RunState.COMPLETED: self.count}, str(report)
        steps = 0
        cursor: str | None = None
        while True:
            page = await self.wf.list(cursor=cursor, limit=_PAGE)
            for run in page:
                first = Status.DONE - len(run.object.trail)
                assert run.object.trail == list(range(first, Status.DONE)), run
                steps += len(run.object.trail)
            if page.next is None:
                break
            cursor = page.next
        failed = report.versions - self.count - steps
        assert failed >= 0
        return failed
