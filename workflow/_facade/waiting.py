"""Waiting for runs."""

import asyncio
from collections.abc import Collection
from datetime import timedelta

from .. import _arguments
from .._model.run import ObjectT, Run, StatusT
from .._verbs.wait_for import wait_for
from ..errors import WaitTimeout
from .base import Facade


class Waiting(Facade[ObjectT, StatusT]):
    """Verbs that return when a run has come somewhere."""

    async def wait_for(
        self,
        foreign_id: str,
        status: StatusT | Collection[StatusT],
        *,
        run_id: str | None = None,
        timeout: timedelta | None = None,
    ) -> Run[ObjectT, StatusT]:
        """The run, once it has reached `status`, or if it passed it before. Cancelling the wait changes nothing.

        Without `run_id` it is the latest run of the foreign ID, or the first to appear.

        Args:
            status: one status, or several: the first that is reached ends the wait.

        Raises:
            WaitTimeout: it did not get there within `timeout`.
            RunFinished: it can no longer get there.
            RecordNotFound: there is no run with this `run_id`.
            StatusNotConfigured: a status is not in the graph.
        """
        statuses = status if isinstance(status, Collection) and not isinstance(status, str) else (status,)
        if not statuses:
            raise ValueError("status must name at least one status, not ()")
        numbers = frozenset(self._engine.definition.checked(one) for one in statuses)
        return await self._wait(foreign_id, status, numbers, run_id, timeout)

    async def wait_until_finished(
        self, foreign_id: str, *, run_id: str | None = None, timeout: timedelta | None = None
    ) -> Run[ObjectT, StatusT]:
        """The run, once it has ended: completed or cancelled. Cancelling the wait changes nothing.

        Without `run_id` it is the latest run of the foreign ID, or the first to appear.

        Raises:
            WaitTimeout: it did not end within `timeout`.
            RecordNotFound: there is no run with this `run_id`.
        """
        return await self._wait(foreign_id, "its end", frozenset(), run_id, timeout)

    async def _wait(
        self, foreign_id: str, wanted: object, statuses: frozenset[int], run_id: str | None, timeout: timedelta | None
    ) -> Run[ObjectT, StatusT]:
        _arguments.ids(foreign_id, run_id)
        if timeout is None:
            return self._reading(await wait_for(self._engine, foreign_id, statuses, run_id))
        _arguments.duration("timeout", timeout, least=None)
        limit = asyncio.timeout(timeout.total_seconds())
        try:
            async with limit:
                return self._reading(await wait_for(self._engine, foreign_id, statuses, run_id))
        except TimeoutError:
            if not limit.expired():
                raise
            raise WaitTimeout(self.name, foreign_id, wanted, timeout, run_id) from None
