"""Where runs live: writing versions and notes, and every question about runs."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from .._model.change import Change, Outcome
from .._model.page import Page
from .._model.query import COUNT_CAP, Count, RecordFilter, RecordQuery, StalledQuery, StatusCount
from .._model.record import Record, Version


class Runs(Protocol):
    """Runs and their histories.

    Proved by `workflow_adapters.conformance`: `records`, `verdicts`, `takes`, `marks`, `races`, `model`, `listing`,
    `filters`, `pages`, `histories`, `sweeps`.

    Every later read, in any process, sees the writes of a call that has returned (no reads from replicas).

    Attributes:
        writers: how many `store` calls of one engine may be under way at once. Above 1 only where a second call beside
            the first makes both faster.
    """

    writers: int = 1

    @abstractmethod
    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Write each change if the record is at the version it expects; one outcome per change, in order.

        The changes are of different runs. Each is atomic by itself: it is written whole or not at all, independent of
        the others, and it is durable on return if its outcome says that it was written. A `NewVersion`'s record,
        history row and outbox event are visible together or not at all. `NewVersion` and `Note` say what they write.

        - A version n + 1 applies to a record at version n. If history version n + 1 was written by this `attempt_id`,
          the outcome is ALREADY_APPLIED, also when later versions exist. Else CONFLICT.
        - Version 1 creates the run. If the run ID exists: ALREADY_APPLIED if its version 1 has this `attempt_id`, else
          CONFLICT; this is checked before the foreign ID. If another live run of the workflow holds the foreign ID:
          IN_PROGRESS. The store itself enforces one live run (initiated, running, paused) per workflow and foreign
          ID, against any number of processes; it does so too for a version that makes a finished run live again.
        - The events of one run keep the order of its versions in the outbox.
        - A change that the store cannot hold, or whose `on_commit` function failed, is REFUSED with the error, which
          names the field and the value.
        - A row that another transaction holds is not waited for: that change is BUSY, unwritten, and the
          caller sends it again later. (A single change on its own may wait, up to a short lock timeout.)
        - A change that was sent over a connection that was then lost is UNKNOWN.

        Raises:
            Unavailable: nothing of the batch was written.
            OutcomeUnknown: each change of the batch may have been written.
        """

    @abstractmethod
    async def lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        """The present records of these runs; unknown run IDs are left out."""

    @abstractmethod
    async def latest(self, workflow_name: str, foreign_id: str) -> Record | None:
        """The live run of the foreign ID if there is one, else the one that the store numbered last."""

    @abstractmethod
    async def list(self, query: RecordQuery) -> Page[Record]:
        """One page of the records that match, in order of creation. Served by indexes, whatever is asked.

        Raises:
            ValueError: the cursor is none of this store's.
        """

    @abstractmethod
    async def count(self, query: RecordFilter, *, cap: int = COUNT_CAP) -> Count:
        """How many records match; counting stops at `cap`."""

    @abstractmethod
    async def counts(self, workflow_name: str) -> Mapping[int, StatusCount]:
        """The runs of a workflow by status; statuses without any run are left out."""

    @abstractmethod
    async def history(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Version]:
        """The committed versions above `after`, oldest first, at most `limit`; empty if there is no such run."""

    @abstractmethod
    async def first_version_at(self, run_id: str, status: int, *, since: int = 1) -> int | None:
        """The first version from `since` on that has this status, or None; by an index, without reading objects."""

    @abstractmethod
    async def find_attempt(self, run_id: str, attempt_id: str) -> int | None:
        """The version of the history that this attempt wrote, or None."""

    @abstractmethod
    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        """Runs that owe work, the one due longest ago (`due_at`) first; see `StalledQuery`. Served by an index."""

    @abstractmethod
    async def list_auto_paused(self, workflow_name: str, *, paused_until: datetime, limit: int) -> Sequence[Record]:
        """Paused records with `auto_paused`, updated at `paused_until` or before, oldest first. Served by an index."""
