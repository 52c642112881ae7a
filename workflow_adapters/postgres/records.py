"""The record store: batches of changes in, outcomes out; and every question the engine asks about runs.

Owns what becomes of a batch: which statement writes it, what the changes that were not applied met instead, and what
is sent apart when somebody else's transaction or a bad value would spoil the whole.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import asyncpg

from workflow.errors import OutcomeUnknown, Unavailable
from workflow.protocols import (
    ALREADY_APPLIED,
    APPLIED,
    BUSY,
    Change,
    Emit,
    NewVersion,
    Outcome,
    Record,
    RecordStore,
    Verdict,
)

from .connections import Connection, Lane
from .failures import LOST, is_locked
from .joined import Joined, call_in_transaction
from .outbox import Outbox
from .reads import Reads
from .rows import check_change
from .writes import Writes

__all__ = ["PostgresRecordStore"]


class PostgresRecordStore(Reads, Outbox, RecordStore):
    """Runs, their history and their outbox in one schema."""

    def __init__(
        self,
        *,
        commits: Lane,
        calls: Lane,
        reads: Lane,
        outbox: Lane,
        schema: str,
        joined: Joined,
        woken: Callable[[str], None],
        safety_net: float,
    ) -> None:
        self.writers = 2
        Reads.__init__(self, reads, schema, joined)
        Outbox.__init__(self, outbox, schema, safety_net)
        self._commits, self._calls, self._joined_by, self._announce = commits, calls, joined, woken
        self._writes = Writes(schema)

    def joined(self) -> bool:
        """True while the calling task is inside a transaction of the user's."""
        return self._joined_by.connection() is not None

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Write a batch; see the port."""
        if not changes:
            return []
        theirs = self._joined_by.connection()
        if theirs is not None:
            applied = await self._joined_by.run(theirs, lambda c: self._write_all(c, changes))
            self.look_back()
            self._joined_by.when_ended(theirs, lambda: self._wake(changes, applied))
        elif any(isinstance(change, NewVersion) and change.on_commit for change in changes):
            return [await self._called(change) for change in changes]
        else:
            applied = await self._apply(changes)
            self._wake(changes, applied)
        if len(applied) == len(changes):
            return [APPLIED] * len(changes)
        return await self._judged(changes, applied)

    async def _apply(self, changes: Sequence[Change]) -> set[str]:
        """Write the changes, apart from each other if they spoil each other; the run IDs that were applied."""
        try:
            return await self._send(changes)
        except (*LOST, ValueError, OverflowError) as error:
            if not is_locked(error):
                _name_the_field(changes, error)
                raise
        if len(changes) == 1:
            return set()
        # Somebody's uncommitted insert holds a key of this batch: halve it, so that only that change is left out.
        middle = len(changes) // 2
        applied = await self._apply(changes[:middle])
        try:
            return applied | await self._apply(changes[middle:])
        except Unavailable as error:
            raise OutcomeUnknown(f"a part of the batch was written: {error}") from error

    async def _send(self, changes: Sequence[Change]) -> set[str]:
        moves = [change for change in changes if isinstance(change, NewVersion)]
        notes = [change for change in changes if not isinstance(change, NewVersion)]
        if (moves and notes) or any(move.erase for move in moves):
            return await self._commits.transaction(lambda c: self._writes.in_transaction(c, moves, notes))
        return await self._writes.in_one_statement(self._commits, moves, notes)

    async def _write_all(self, connection: Connection, changes: Sequence[Change]) -> set[str]:
        moves = [change for change in changes if isinstance(change, NewVersion)]
        notes = [change for change in changes if not isinstance(change, NewVersion)]
        try:
            return await self._writes.in_transaction(connection, moves, notes)
        except (*LOST, ValueError, OverflowError) as error:
            _name_the_field(changes, error)
            raise

    async def _called(self, change: Change) -> Outcome:
        """Write one change in a transaction of its own, with the user's functions inside."""
        functions = change.on_commit if isinstance(change, NewVersion) else ()
        try:
            applied = await call_in_transaction(self._calls, lambda c: self._write_all(c, [change]), functions)
        except asyncpg.PostgresError as error:
            if not is_locked(error):
                raise
            applied = set()
        self._wake([change], applied)
        return APPLIED if applied else (await self._judged([change], applied))[0]

    def _wake(self, changes: Iterable[Change], applied: set[str]) -> None:
        names = {
            change.event.workflow_name
            for change in changes
            if isinstance(change, NewVersion | Emit) and change.run_id in applied
        }
        for name in names:
            if not self.relays(name):
                self._announce(name)
            self.wake(name)

    async def _judged(self, changes: Sequence[Change], applied: set[str]) -> Sequence[Outcome]:
        left = [change for change in changes if change.run_id not in applied]
        attempts = await self.attempts([(c.run_id, c.record.version) for c in left if isinstance(c, NewVersion)])
        present = await self.lookup([change.run_id for change in left])
        firsts = [
            c.record for c in left if isinstance(c, NewVersion) and c.record.version == 1 and c.run_id not in present
        ]
        holders = await self.live(firsts)
        return [
            APPLIED if change.run_id in applied else _outcome(change, attempts, present, holders) for change in changes
        ]


def _outcome(
    change: Change,
    attempts: Mapping[tuple[str, int], str],
    present: Mapping[str, Record],
    holders: Mapping[tuple[str, str], Record],
) -> Outcome:
    """What a change met that was not applied: its own earlier attempt, another record, or a row that is held."""
    record = present.get(change.run_id)
    if not isinstance(change, NewVersion):
        expected = change.version
    else:
        new = change.record
        if new.attempt_id and attempts.get((new.run_id, new.version)) == new.attempt_id:
            return ALREADY_APPLIED
        holder = holders.get((new.workflow_name, new.foreign_id))
        if record is None and new.version == 1:
            return BUSY if holder is None else Outcome(Verdict.IN_PROGRESS, holder)
        expected = new.version - 1
    if record is not None and record.version == expected:
        return BUSY
    return Outcome(Verdict.CONFLICT, record)


def _name_the_field(changes: Sequence[Change], error: BaseException) -> None:
    """Raise a ValueError naming the field if a value is at fault, instead of the driver's error."""
    if not isinstance(error, asyncpg.PostgresError | ValueError | OverflowError):
        return
    for change in changes:
        try:
            check_change(change)
        except ValueError as wrong:
            raise wrong from error
