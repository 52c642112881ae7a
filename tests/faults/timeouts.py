"""Timeout stores that are wrong in one way each."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from tests.faults import Wrapper
from workflow._model.timer import TimeoutPage, TimeoutRecord
from workflow.errors import TimeoutNotFound


class CreatesAgain(Wrapper):
    """Writes over a timer that exists already."""

    async def create(self, timeouts: Sequence[TimeoutRecord]) -> None:
        await self.real.cancel([timeout.id for timeout in timeouts])
        await self.real.create(timeouts)


class ClaimsWithoutPostponing(Wrapper):
    """Gives a timer to everybody who asks."""

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        page: TimeoutPage = await self.real.claim_due(workflow_name, statuses, now=now, until=until, limit=limit)
        await self.real.postpone([msgspec.structs.replace(found, due_at=found.expire_at) for found in page.timeouts])
        return page


class NotDueAtItsTime(Wrapper):
    """Finds a timer due only after its time."""

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        before = now - timedelta(microseconds=1)
        page: TimeoutPage = await self.real.claim_due(workflow_name, statuses, now=before, until=until, limit=limit)
        return page


class ClaimsTheLatestFirst(Wrapper):
    """Gives what is due last first, so that the oldest starve."""

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        page: TimeoutPage = await self.real.claim_due(workflow_name, statuses, now=now, until=until, limit=limit)
        return TimeoutPage(page.timeouts[::-1], page.next_due)


class CompletesByRemoving(Wrapper):
    """Removes what is completed."""

    async def complete(self, ids: Sequence[str]) -> None:
        await self.real.complete(ids)
        await self.real.cancel(ids)


class CompletesTheUnknown(Wrapper):
    """Says nothing when there is no such timer."""

    async def complete(self, ids: Sequence[str]) -> None:
        with suppress(TimeoutNotFound):
            await self.real.complete(ids)


class ForgetsWhatIsNext(Wrapper):
    """Does not say when to look again."""

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        page: TimeoutPage = await self.real.claim_due(workflow_name, statuses, now=now, until=until, limit=limit)
        return TimeoutPage(page.timeouts, None)


class PostponesToWriteEverything(Wrapper):
    """Writes the whole timer where three fields were meant."""

    async def postpone(self, timeouts: Sequence[TimeoutRecord]) -> None:
        known = {t.id for timeout in timeouts for t in await self.real.list(timeout.workflow_name)}
        written = [timeout for timeout in timeouts if timeout.id in known]
        await self.real.cancel([timeout.id for timeout in written])
        await self.real.create(written)


class NeverWakes(Wrapper):
    """Waits for timers for ever."""

    async def wait_for_timeouts(self, workflow_name: str) -> None:
        await asyncio.Event().wait()
