"""Verbs that read runs: one, many, their number, and the history of one."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from .. import _arguments
from .._model.page import Page
from .._model.query import COUNT_CAP, DEFAULT_LIMIT, Count, Order, StatusCount
from .._model.run import ObjectT, Run, StatusT, read_status
from .._verbs import listing
from .._verbs.listing import RunFilter
from .._verbs.lookup import latest, lookup
from .base import Facade


class Reading(Facade[ObjectT, StatusT]):
    """Verbs that change nothing."""

    async def get(self, run_id: str) -> Run[ObjectT, StatusT]:
        """The run as it is now.

        Raises:
            RecordNotFound: this workflow has no such run.
        """
        return self._reading(await lookup(self._engine, run_id))

    async def latest(self, foreign_id: str) -> Run[ObjectT, StatusT]:
        """The live run of the foreign ID if there is one, else the one triggered last.

        Raises:
            RecordNotFound: the foreign ID never had a run.
        """
        return self._reading(await latest(self._engine, foreign_id))

    async def list(
        self,
        *,
        order: Order = Order.ASCENDING,
        cursor: str | None = None,
        offset: int = 0,
        limit: int = DEFAULT_LIMIT,
        **conditions: Unpack[RunFilter[StatusT]],
    ) -> Page[Run[ObjectT, StatusT]]:
        """One page of the runs of this workflow, in order of creation; `page.next` is the cursor of the next one.

        Conditions are joined by AND, the values of one condition by OR; one left out or empty restricts nothing.

        Args:
            conditions: which runs; see `RunFilter`.
            order: by creation.
            cursor: `next` of the page before.
            offset: how many of the filtered, ordered runs to leave out. The store reads them: use `cursor`.
            limit: at most so many, at least 1.

        Raises:
            StatusNotConfigured: one of `statuses` is not a member of the workflow's enum.
            ValueError: the cursor is none of this store's.
        """
        chosen = listing.checked_filter(self._engine.definition, **conditions)
        query = listing.page_of(chosen, order=order, cursor=cursor, offset=offset, limit=limit)
        page = await self._engine.records.list(query)
        return Page(map(self._reading, page), page.next)

    async def count(self, *, cap: int = COUNT_CAP, **conditions: Unpack[RunFilter[StatusT]]) -> Count:
        """How many runs match; the conditions are those of `list`. Counting stops at `cap`.

        Raises:
            StatusNotConfigured: one of `statuses` is not a member of the workflow's enum.
        """
        _arguments.whole("cap", cap, least=1)
        chosen = listing.checked_filter(self._engine.definition, **conditions)
        return await self._engine.records.count(chosen, cap=cap)

    async def counts(self) -> Mapping[StatusT, StatusCount]:
        """The runs of this workflow by status; statuses without any run are left out."""
        counts = await self._engine.records.counts(self.name)
        status_type = self._engine.definition.status_type
        return {read_status(status_type, number): count for number, count in sorted(counts.items())}

    async def history(
        self, run_id: str, *, after: int = 0, limit: int | None = None
    ) -> Sequence[Run[ObjectT, StatusT]]:
        """Versions of the run, oldest first. A failed attempt's version shows the object as it left it.

        Args:
            after: only versions above this one: the last of the page before.
            limit: at most so many; None for all.

        Raises:
            RecordNotFound: this workflow has no such run.
        """
        versions = await listing.history(self._engine, run_id, after=after, limit=limit)
        return [self._reading(version) for version in versions]
