"""The ports: what the engine needs from the outside, and what every adapter promises.

Each docstring is the contract; `workflow_adapters.conformance` proves it. Common to all ports:

- A call finishes once it has begun: cancelling the caller takes effect between calls, never inside a transaction.
- An adapter raises `Unavailable` when it cannot be reached and nothing was written, `OutcomeUnknown` when a write may
  or may not be durable. It never repeats a write by itself. Any other exception means that the data is at fault.
- `now` is always an argument: due times are judged by the engine's clock, leases by the store's own.
- A port that needs resources is an async context manager too; `Backend` enters it.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol, TypeVar

from .._model.change import ALREADY_APPLIED, APPLIED, BUSY, Change, Emit, Mark, NewVersion, OnCommit, Outcome, Verdict
from .._model.dead_letter import DeadLetter
from .._model.event import ConnectorEvent, Event, OutboxEvent, OutboxPage
from .._model.query import DEFAULT_LIMIT, Order, RecordQuery, StalledQuery
from .._model.record import Meta, Record
from .._model.run_state import LIVE, RUNNABLE, TRANSITIONS, RunState
from .._model.shard import WHOLE, Shard, partition_of
from .._model.timer import TimeoutPage, TimeoutRecord
from .._model.topology import topic
from .backend import Backend
from .clock import Clock, Timer

__all__ = [
    "ALREADY_APPLIED",
    "APPLIED",
    "BUSY",
    "DEFAULT_LIMIT",
    "LIVE",
    "RUNNABLE",
    "TRANSITIONS",
    "WHOLE",
    "Backend",
    "Change",
    "Clock",
    "Codec",
    "ConnectorEvent",
    "ConnectorReceiver",
    "ConnectorSource",
    "DeadLetter",
    "Emit",
    "Event",
    "EventReceiver",
    "EventStreamer",
    "Lease",
    "Mark",
    "Meta",
    "NewVersion",
    "OnCommit",
    "Order",
    "OutboxEvent",
    "OutboxPage",
    "Outcome",
    "Record",
    "RecordQuery",
    "RecordStore",
    "RoleScheduler",
    "RunState",
    "Shard",
    "StalledQuery",
    "TimeoutPage",
    "TimeoutRecord",
    "TimeoutStore",
    "Timer",
    "Verdict",
    "partition_of",
    "topic",
]

T = TypeVar("T")


class RecordStore(Protocol):
    """Where runs live. Proved by `workflow_adapters.conformance.records`.

    What a call has written, every later read in any process sees (no reads from replicas).

    Attributes:
        writers: how many batches of one engine it writes faster at the same time than one after the other.
    """

    writers: int = 1

    @abstractmethod
    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Write the changes in one transaction, each only if the record is at the version it expects.

        The changes are of different runs. Returns one outcome per change, in order; all that were applied are durable
        on return, and none is half-written. A `NewVersion`'s record, history row and outbox event are visible together
        or not at all. See `NewVersion`, `Mark`, `Emit` for what each writes.

        - A move to version n + 1 applies to a record at version n. If history version n + 1 was written by this
          `attempt_id`, the outcome is ALREADY_APPLIED, also when later versions exist. Else CONFLICT.
        - A move to version 1 creates the run. If the run ID exists: ALREADY_APPLIED if its version 1 has this
          `attempt_id`, else CONFLICT; this is checked before the foreign ID. If another live run of the workflow
          holds the foreign ID: IN_PROGRESS. The store itself enforces one live run (initiated, running, paused) per
          workflow and foreign ID, against any number of processes.
        - The events of one run keep the order of its versions in the outbox.
        - Never waits for a row held by somebody else's transaction: that change alone is answered BUSY, unwritten,
          and the caller sends it again later. (A single change on its own may wait, up to a short lock timeout.)

        Raises:
            Unavailable, OutcomeUnknown: for the batch as a whole.
            Exception: any other error means that one of the changes cannot be stored as it is, and that nothing of
                the batch was written; the caller sends them apart.
        """

    @abstractmethod
    async def lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        """The present records of these runs; unknown run IDs are left out."""

    @abstractmethod
    async def latest(self, workflow_name: str, foreign_id: str) -> Record | None:
        """The live run of the foreign ID if there is one, else the one created last in the store's own sequence."""

    @abstractmethod
    async def list(self, query: RecordQuery) -> Sequence[Record]:
        """The records that match, in order of creation as the store numbered it."""

    @abstractmethod
    async def history(self, run_id: str) -> Sequence[Record]:
        """Every committed version, oldest first; empty if there is no such run."""

    @abstractmethod
    async def passed(self, run_id: str, status: int) -> int | None:
        """The first version of the history that has this status, or None; reads no objects."""

    @abstractmethod
    async def find_attempt(self, run_id: str, attempt_id: str) -> int | None:
        """The version of the history that this attempt wrote, or None."""

    @abstractmethod
    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        """At most `limit` of the events due at `now` (no due time, or one not after `now`), and the next due time.

        Events without a due time come in the order they were committed; events whose due time has come are mixed in
        so that neither kind starves the other. A row that does not decode is moved to the dead letters, not returned.
        """

    @abstractmethod
    async def delete_outbox(self, ids: Sequence[str]) -> None:
        """Remove these outbox events; ids that are gone already are no error."""

    @abstractmethod
    async def wait_for_outbox(self, workflow_name: str) -> None:
        """Return when there may be something new in the outbox; may be spurious, may be late, safe to cancel.

        What was written after the last return (or, the first time, after the call) is never missed for longer than
        the adapter's safety net, a few seconds at most.
        """

    @abstractmethod
    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        """Runs that owe work, the one due longest ago (`due_at`) first; see `StalledQuery`. Served by an index."""

    @abstractmethod
    async def list_auto_paused(self, workflow_name: str, *, paused_before: datetime, limit: int) -> Sequence[Record]:
        """Paused records with `auto_paused`, updated before that moment, oldest first. Served by an index."""

    @abstractmethod
    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep these dead letters, durably."""

    @abstractmethod
    async def dead_letters(self, workflow_name: str, *, limit: int = 100) -> Sequence[DeadLetter]:
        """The dead letters of a workflow, oldest first."""

    def joined(self) -> bool:
        """True while the calling task is inside a transaction of the user's that this store takes part in.

        Then `store` writes through that transaction and is called with one change at a time.
        """
        return False


class EventReceiver(Protocol):
    """One consumer's reading of one topic, for the partitions of its shard."""

    @abstractmethod
    async def receive(self, limit: int) -> Sequence[Event]:
        """At least one event and at most `limit`, in order within each partition; waits until there is one.

        An event is received once per opening, acknowledged or not. Safe to cancel: nothing is lost. Received is not
        acknowledged: what is not acknowledged comes again after the receiver is opened anew.
        """

    @abstractmethod
    async def ack(self, events: Sequence[Event]) -> None:
        """Each of these events, and all before it in its partition, is done.

        Moves the cursor of (topic, name, partition), only forward. May be written lazily and together with others,
        within a second; closing the receiver writes it.
        """


class EventStreamer(Protocol):
    """Carries events between processes. Proved by `workflow_adapters.conformance.events`.

    At least once, roughly in order, possibly lossy: safety does not depend on it.
    """

    partitions: int
    """How many partitions each topic has; a parallel count above it cannot be served."""

    @abstractmethod
    async def send(self, events: Sequence[Event]) -> None:
        """Publish events, of any topics, each to the partition of its run ID; all are durable on return.

        Events of one partition keep their order. Their `partition` and `position` are assigned here.

        Raises:
            EventsRefused: some will never be taken; the others are durable.
        """

    @abstractmethod
    def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AbstractAsyncContextManager[EventReceiver]:
        """Open a reading of `topic` under a consumer `name`, for the partitions that `shard` owns.

        Reading starts after the stored cursor of (topic, name, partition). Without a stored cursor it starts at the
        earliest event, or with `from_latest` after the last event sent before the context was entered. A cursor
        beyond the end of its partition restarts at the earliest event. An empty name is a passing reader: it is
        always from the latest, it stores no cursor, and several may be open at once without sharing events.
        """

    @abstractmethod
    async def lag(self, topic: str, name: str) -> datetime | None:
        """`created_at` of the oldest event of the topic that this consumer has not acknowledged; None: none is."""


class Lease(Protocol):
    """A role that is held.

    Attributes:
        token: rises with each takeover of the role; for diagnosis, safety does not depend on it.
        unclean: the holder before did not release the role: its lease ran out, so it may have crashed.
        lost: set once the role must be given up: because it is lost, or because another process should have it. The
            holder then finishes what it has in hand and leaves the context.
    """

    token: int
    unclean: bool
    lost: asyncio.Event


class RoleScheduler(Protocol):
    """Spreads roles over processes. Proved by `workflow_adapters.conformance.roles`."""

    @abstractmethod
    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        """Wait for the role and hold it inside the context; draining the context releases it at once.

        At most one process believes to hold a role at a time, as long as clocks and pauses behave; two may for a
        moment when they do not. Roles of one `group` are given to the same process, and groups are spread evenly
        over the live processes that wait for them or hold them. Waiting is safe to cancel.
        """


class TimeoutStore(Protocol):
    """Where timers wait. Proved by `workflow_adapters.conformance.timeouts`."""

    @abstractmethod
    async def create(self, timeouts: Sequence[TimeoutRecord]) -> None:
        """Keep these timers; one whose id exists already (completed or not) is left as it is."""

    @abstractmethod
    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        """Timers of these statuses with `due_at` not after `now`, not completed, the one due first first.

        Those returned are postponed to `until` and their `claims` are counted, so that another process does not get
        them meanwhile. `next_due` is the earliest due time of the others, None when there is none.
        """

    @abstractmethod
    async def postpone(self, timeouts: Sequence[TimeoutRecord]) -> None:
        """Write `due_at`, `attempt` and `last_error` of these timers; ids that are gone are no error."""

    @abstractmethod
    async def complete(self, ids: Sequence[str]) -> None:
        """Mark these timers completed: they stay, so that they are not created again, but are never due.

        Raises:
            TimeoutNotFound: there is none of this id; the others are completed.
        """

    @abstractmethod
    async def cancel(self, ids: Sequence[str]) -> None:
        """Remove these timers; ids that are gone are no error."""

    @abstractmethod
    async def list(self, workflow_name: str, *, run_id: str | None = None) -> Sequence[TimeoutRecord]:
        """All timers of the workflow (or of one run), completed ones included, by `expire_at` and id."""

    @abstractmethod
    async def wait_for_timeouts(self, workflow_name: str) -> None:
        """Return when a timer may have been created or moved forward; may be spurious, may be late, safe to cancel."""


class ConnectorReceiver(Protocol):
    """One reading of a foreign stream."""

    @abstractmethod
    async def receive(self, limit: int) -> Sequence[ConnectorEvent]:
        """At least one event and at most `limit`; waits until there is one. Safe to cancel."""

    @abstractmethod
    async def ack(self, events: Sequence[ConnectorEvent]) -> None:
        """Each of these events, and all before it in its partition, is done."""


class ConnectorSource(Protocol):
    """A foreign stream that a connector consumes. Proved by `workflow_adapters.conformance.connectors`."""

    @abstractmethod
    def receiver(self, name: str, *, shard: Shard) -> AbstractAsyncContextManager[ConnectorReceiver]:
        """Open a reading under a durable consumer `name`, for the partitions that `shard` owns.

        A source without partitions of its own uses `partition_of(event.id, count)` with a count of its choice.
        """


class Codec(Protocol[T]):
    """Turns objects into bytes and back: JSON by default; replace it for encryption or another format."""

    @abstractmethod
    def encode(self, value: T) -> bytes:
        """The bytes to store. An exception fails the attempt (or the trigger), and nothing is stored."""

    @abstractmethod
    def decode(self, data: bytes) -> T:
        """The object again. An exception pauses the run that these bytes belong to."""
