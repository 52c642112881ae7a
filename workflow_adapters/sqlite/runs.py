"""Runs and their histories in a file."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from workflow.errors import OutcomeUnknown, Unavailable
from workflow.protocols import (
    BUSY,
    COUNT_CAP,
    UNKNOWN,
    Change,
    Count,
    NewVersion,
    Outcome,
    Page,
    Record,
    RecordFilter,
    RecordQuery,
    Runs,
    StalledQuery,
    StatusCount,
    Version,
    WakeUp,
    refused,
)

from . import listing, lookups, stalled
from .changes import store
from .database import Database
from .on_commit import TransactionEnded


class SQLiteRuns(Runs):
    """The runs of a file."""

    def __init__(self, database: Database) -> None:
        self._runs_file = database

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Apply each change whose expected version is the present one.

        All in one transaction, but for those with functions of the user's, which have one each.
        """
        calling = {place for place, change in enumerate(changes) if isinstance(change, NewVersion) and change.on_commit}
        if not calling:
            return await self._write(changes)
        others = [place for place in range(len(changes)) if place not in calling]
        written = await self._write([changes[place] for place in others]) if others else []
        outcomes = dict(zip(others, written, strict=True))
        for place in sorted(calling):
            outcomes[place] = await self._write_calling(changes[place], is_first=not outcomes)
        return [outcomes[place] for place in range(len(changes))]

    async def _write(self, changes: Sequence[Change], *, alone: bool = False) -> Sequence[Outcome]:
        names = {change.event.workflow_name for change in changes if change.event is not None}
        wakes = [(WakeUp.OUTBOX.value, name) for name in names]
        # Marks without events may be lost in a power failure: they only save work.
        lazy = not names
        return await self._runs_file.write(lambda c: store(c, changes), wakes=wakes, alone=alone, lazy=lazy)

    async def _write_calling(self, change: Change, *, is_first: bool) -> Outcome:
        try:
            (outcome,) = await self._write([change], alone=True)
        except TransactionEnded as error:
            return refused(error)
        except (Unavailable, OutcomeUnknown) as error:
            if is_first:
                raise
            # Others of the call were written, so the call may not say that nothing was.
            return BUSY if isinstance(error, Unavailable) else UNKNOWN
        return outcome

    async def lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        """The present records; while many bytes are read, other reads have their turns."""
        found, asked = await self._runs_file.read(lambda c: lookups.lookup(c, run_ids))
        while asked < len(run_ids):
            left = run_ids[asked:]
            more, further = await self._runs_file.read(partial(lookups.lookup, run_ids=left))
            found, asked = {**found, **more}, asked + further
        return found

    async def latest(self, workflow_name: str, foreign_id: str) -> Record | None:
        """The live run, else the last created."""
        return await self._runs_file.read(lambda c: lookups.latest(c, workflow_name, foreign_id))

    async def list(self, query: RecordQuery) -> Page[Record]:
        """One page of the records that match."""
        return await self._runs_file.read(lambda c: listing.page(c, query))

    async def count(self, query: RecordFilter, *, cap: int = COUNT_CAP) -> Count:
        """How many records match."""
        return await self._runs_file.read(lambda c: listing.count(c, query, cap))

    async def counts(self, workflow_name: str) -> Mapping[int, StatusCount]:
        """The runs of a workflow by status."""
        return await self._runs_file.read(lambda c: listing.counts(c, workflow_name))

    async def history(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Version]:
        """The versions above `after`."""
        return await self._runs_file.read(lambda c: lookups.history(c, run_id, after, limit))

    async def first_version_at(self, run_id: str, status: int, *, since: int = 1) -> int | None:
        """The first version with this status."""
        return await self._runs_file.read(lambda c: lookups.first_version_at(c, run_id, status, since))

    async def find_attempt(self, run_id: str, attempt_id: str) -> int | None:
        """The version this attempt wrote."""
        return await self._runs_file.read(lambda c: lookups.find_attempt(c, run_id, attempt_id))

    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        """Stalled records, the one due longest ago first."""
        return await self._runs_file.read(lambda c: stalled.stalled(c, query))

    async def list_auto_paused(self, workflow_name: str, *, paused_until: datetime, limit: int) -> Sequence[Record]:
        """Records that the engine paused, oldest first."""
        return await self._runs_file.read(lambda c: stalled.auto_paused(c, workflow_name, paused_until, limit))
