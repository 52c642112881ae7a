"""The record store: its parts in one object, and the batches of changes that go through it."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager

from workflow.errors import Unavailable
from workflow.protocols import (
    APPLIED,
    BUSY,
    Change,
    JoinsTransactions,
    Outcome,
    RecordStore,
    Subscription,
    WakeUp,
    WakeUps,
)

from ..kit.wake_ups import LocalWakeUps
from .access import Access
from .batches import CALLBACK_GONE, Answers, BatchWriter
from .catalog import PublishedDefinitions
from .dead_letters import KeptDeadLetters
from .held_callbacks import HeldByForeignId
from .histories import Histories
from .joined import Joined
from .lane import Lane
from .listings import Listings
from .lookups import Lookups
from .memos import KeptMemos
from .outbox import Outboxes
from .sweeping import Sweeping
from .verdicts import judged

__all__ = ["PostgresRecordStore"]

_SPACING = 0.01
"""Seconds between looks that follow wake-ups: a look for each single commit would compete with the commits."""


class PostgresRecordStore(
    Lookups,
    Histories,
    Listings,
    Sweeping,
    Outboxes,
    KeptDeadLetters,
    HeldByForeignId,
    PublishedDefinitions,
    KeptMemos,
    RecordStore,
    WakeUps,
    JoinsTransactions,
):
    """Runs, their histories and outboxes, dead letters, held callbacks, definitions and memos in one schema.

    Args:
        commits: writes batches of changes.
        calls: writes changes with functions of the user's.
        apart: writes changes that may have to wait for another transaction.
        reads: reads.
        side: reads and deletes from the outbox, and writes everything that is no change of a run.
        announce: tells other processes that there may be news of this kind for a workflow.
        safety_net: seconds after which a subscriber looks without a wake-up.
    """

    writers = 2

    def __init__(
        self,
        *,
        commits: Lane,
        calls: Lane,
        apart: Lane,
        reads: Lane,
        side: Lane,
        schema: str,
        joined: Joined,
        announce: Callable[[WakeUp, str], None],
        safety_net: float,
    ) -> None:
        access = Access(reads=reads, writes=side, schema=schema, joined=joined)
        Lookups.__init__(self, access)
        Histories.__init__(self, access)
        Listings.__init__(self, access)
        Sweeping.__init__(self, access)
        Outboxes.__init__(self, side, schema)
        KeptDeadLetters.__init__(self, access)
        HeldByForeignId.__init__(self, access, lambda name: self._tell(WakeUp.HELD_CALLBACKS, name))
        PublishedDefinitions.__init__(self, access)
        KeptMemos.__init__(self, access)
        self._batches = BatchWriter(commits=commits, calls=calls, apart=apart, schema=schema)
        self._joined_by, self._announce = joined, announce
        self._wake_ups = LocalWakeUps((WakeUp.OUTBOX, WakeUp.HELD_CALLBACKS), safety_net=safety_net, spacing=_SPACING)

    def joined(self) -> bool:
        """True while the calling task is inside a transaction of the user's."""
        return self._joined_by.connection() is not None

    def subscribe(self, kind: WakeUp, workflow_name: str) -> AbstractAsyncContextManager[Subscription]:
        """Hear of what any process writes for this workflow from now on.

        Raises:
            ValueError: a record store has no wake-ups of this kind.
        """
        return self._wake_ups.subscribe(kind, workflow_name)

    def wake(self, kind: WakeUp, workflow_name: str | None) -> None:
        """Another process may have written something of this kind for this workflow (None: for any)."""
        self._wake_ups.wake(kind, workflow_name)

    def _tell(self, kind: WakeUp, workflow_name: str) -> None:
        """Something was written here: wake the subscriber of this process, or tell the others."""
        if not self._wake_ups.has_subscriber(kind, workflow_name):
            self._announce(kind, workflow_name)
        self._wake_ups.wake(kind, workflow_name)

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Write each change by itself; see the port."""
        if not changes:
            return []
        theirs = self._joined_by.transaction()
        if theirs is None:
            answers = await self._batches.write(changes)
            self._tell_of_events(changes, answers)
        else:
            answers = await self._batches.write_joined(self._joined_by, theirs, changes)
            self.look_back()
            self._joined_by.when_ended(theirs, lambda: self._tell_of_events(changes, answers))
        unjudged = [change for change in changes if answers.get(change.run_id, CALLBACK_GONE) is CALLBACK_GONE]
        if unjudged:
            await self._judge(unjudged, answers)
        return [answers[change.run_id] for change in changes]

    async def _judge(self, changes: Sequence[Change], answers: Answers) -> None:
        """Add the outcomes of these changes, which were not applied."""
        try:
            answers.update(await judged(changes, frozenset(answers), self, self))
        except Unavailable:
            if APPLIED not in answers.values():
                raise
            # A part of the batch was written, so the call may not say that nothing was.
            answers.update((change.run_id, BUSY) for change in changes)

    def _tell_of_events(self, changes: Iterable[Change], answers: Answers) -> None:
        names = {
            change.event.workflow_name
            for change in changes
            if change.event is not None and answers.get(change.run_id) is APPLIED
        }
        for name in names:
            self._tell(WakeUp.OUTBOX, name)
