"""Writes a batch of changes. Each change stands alone: it is written although others are refused.

The usual batch is one statement. If the database refuses it, because of one value or because another transaction holds
a key, the batch is written again in one transaction, change by change, each in a savepoint: only the changes at fault
are left out, and the others still share one commit. A change with functions of the user's has a transaction of its own.

A change that waits for a key is not in a batch again: it is asked for alone, through a lane where nobody else waits.
"""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TypeAlias

import asyncpg

from workflow.errors import OutcomeUnknown, Unavailable
from workflow.protocols import APPLIED, BUSY, UNKNOWN, Change, NewVersion, Note, Outcome, Verdict, refused

from ..kit.sizes import LARGEST_OBJECT, check_size
from .change_statements import CallbackGone, ChangeStatements
from .checks import check_change
from .failures import LOST, is_locked, is_lost, is_rolled_back, is_transient, violates
from .held import Held
from .joined import Joined, UsersTransaction
from .lane import Lane
from .on_commit import OnCommitFailed, call_functions, call_in_transaction, failed_by
from .server import Connection

__all__ = ["CALLBACK_GONE", "Answers", "BatchWriter"]

Answers: TypeAlias = dict[str, Outcome]
"""Outcomes by run ID. A change without one was not applied: the present record tells why."""

CALLBACK_GONE = Outcome(Verdict.CONFLICT)
"""Not applied, because a held callback is gone; the present record is still to be added."""

_REFUSALS = (*LOST, ValueError, OverflowError, CallbackGone, OnCommitFailed)
"""What a statement for a change may raise; LOST holds every error of the driver."""

_WAIT_LESS = "set local lock_timeout = '2ms'; savepoint one"
"""One after the other, changes whose keys are held would add up to a long wait; each is asked for apart afterwards."""

_NEXT = "set constraints all immediate; release savepoint one; savepoint one"
"""Constraints of the user's that would wait for the commit are asked for each change: there they refuse them all."""


class _Kinds:
    """The changes of a batch by the way in which they are written."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self.versions: list[NewVersion] = []
        self.notes: list[Note] = []
        self.taking: list[NewVersion] = []
        self.calling: list[NewVersion] = []
        self.too_large = False
        self.erases = False
        for change in changes:
            if not isinstance(change, NewVersion):
                self.notes.append(change)
                continue
            if len(change.record.object) > LARGEST_OBJECT:
                self.too_large = True
            if change.on_commit:
                self.calling.append(change)
            elif change.takes:
                self.taking.append(change)
            else:
                self.versions.append(change)
                self.erases = self.erases or change.erase

    @property
    def fits_one_statement(self) -> bool:
        return not (self.taking or self.erases or (self.versions and self.notes))


class BatchWriter:
    """Writes batches through lanes of its own, or through a transaction that the caller joined.

    Args:
        commits: for batches.
        calls: for changes with functions of the user's.
        apart: for single changes that may have to wait.
    """

    def __init__(self, *, commits: Lane, calls: Lane, apart: Lane, schema: str) -> None:
        self._commits, self._calls, self._apart = commits, calls, apart
        self._statements = ChangeStatements(schema)
        self._held = Held()

    async def write(self, changes: Sequence[Change]) -> Answers:
        """Write the changes.

        Raises:
            Unavailable: nothing of the batch was written.
            OutcomeUnknown: each change of the batch may have been written.
        """
        if not self._held:
            return await self._write(changes, self._commits)
        again = [change for change in changes if self._held.is_apart(change)]
        others = [change for change in changes if not self._held.is_apart(change)]
        answers = {change.run_id: BUSY for change in others if self._held.blocks(change)}
        free = [change for change in others if change.run_id not in answers]
        if free:
            answers.update(await self._write(free, self._commits))
        if again:
            answers.update(await self._write_apart(again, is_first=not free))
        return answers

    async def _write_apart(self, changes: Sequence[Change], *, is_first: bool) -> Answers:
        await asyncio.gather(*(self._held.freed(change) for change in changes))
        try:
            answers = await self._write(changes, self._apart)
        except (Unavailable, OutcomeUnknown) as error:
            if is_first:
                raise
            # Others of the call were written, so the call may not say that nothing was.
            return dict.fromkeys((c.run_id for c in changes), BUSY if isinstance(error, Unavailable) else UNKNOWN)
        for change in changes:
            if answers.get(change.run_id) is not BUSY:
                self._held.settled(change)
        return answers

    async def _write(self, changes: Sequence[Change], lane: Lane) -> Answers:
        kinds = _Kinds(changes)
        if kinds.too_large:
            return await self._write_but_the_large(changes, lane)
        if not kinds.calling:
            return await self._write_together(changes, kinds, lane)
        answers: Answers = {}
        together: list[Change] = [*kinds.versions, *kinds.notes, *kinds.taking]
        if together:
            answers.update(await self._write_together(together, kinds, lane))
        for change in kinds.calling:
            try:
                answers.update(await self._write_calling(change))
            except Unavailable:
                if not answers:
                    raise
                answers[change.run_id] = BUSY
            except OutcomeUnknown:
                if not answers:
                    raise
                answers[change.run_id] = UNKNOWN
        return answers

    async def _write_but_the_large(self, changes: Sequence[Change], lane: Lane) -> Answers:
        """Refuse, before it is sent, what would take the connection with it; write the others."""
        refusals = {change.run_id: refused(error) for change in changes if (error := _too_large(change)) is not None}
        others = [change for change in changes if change.run_id not in refusals]
        return refusals if not others else {**await self._write(others, lane), **refusals}

    async def _write_together(self, changes: Sequence[Change], kinds: _Kinds, lane: Lane) -> Answers:
        try:
            if kinds.fits_one_statement:
                applied = await self._statements.in_one_statement(lane, kinds.versions, kinds.notes)
                return dict.fromkeys(applied, APPLIED)
            return await lane.transaction(lambda connection: self._in_transaction(connection, kinds))
        except _REFUSALS as error:
            if len(changes) == 1:
                return self._answer(changes[0], error)
        return await lane.transaction(lambda connection: self._one_by_one(connection, changes))

    async def _in_transaction(self, connection: Connection, kinds: _Kinds) -> Answers:
        applied = await self._statements.in_transaction(connection, kinds.versions, kinds.notes)
        answers = dict.fromkeys(applied, APPLIED)
        if kinds.taking:
            answers.update(await self._one_by_one(connection, kinds.taking))
        return answers

    async def _one_by_one(self, connection: Connection, changes: Sequence[Change]) -> Answers:
        answers: Answers = {}
        await connection.execute(_WAIT_LESS)
        for change in changes:
            try:
                applied = await self._statements.alone(connection, change)
                await connection.execute(_NEXT)
            except _REFUSALS as error:
                if is_lost(error) or is_transient(error):
                    raise
                await connection.execute("rollback to savepoint one")
                answers.update(self._answer(change, error))
            else:
                if applied:
                    answers[change.run_id] = APPLIED
        return answers

    async def _write_calling(self, change: NewVersion) -> Answers:
        try:
            applied = await call_in_transaction(
                self._calls, lambda connection: self._statements.alone(connection, change), change.on_commit
            )
        except _REFUSALS as error:
            return _outcome(change, error)
        return {change.run_id: APPLIED} if applied else {}

    def _answer(self, change: Change, error: BaseException) -> Answers:
        """The outcome, like `_outcome`; a change that waited in vain is asked for apart from now on."""
        if is_locked(error):
            self._held.found(change)
        return _outcome(change, error)

    async def write_joined(self, joined: Joined, theirs: UsersTransaction, changes: Sequence[Change]) -> Answers:
        """Write the changes through the user's transaction, each in a savepoint.

        Raises:
            Unavailable: the connection is lost, and so is their transaction.
        """

        async def work(connection: Connection, *, change: Change) -> bool:
            applied = await self._statements.alone(connection, change)
            if applied and isinstance(change, NewVersion):
                await call_functions(change.on_commit, connection)
            return applied

        answers: Answers = {}
        for change in changes:
            if (large := _too_large(change)) is not None:
                answers[change.run_id] = refused(large)
                continue
            try:
                if await joined.run(theirs.connection, partial(work, change=change)):
                    answers[change.run_id] = APPLIED
            except asyncpg.InFailedSQLTransactionError as error:
                calls = isinstance(change, NewVersion) and change.on_commit
                answers.update(_outcome(change, failed_by(error) if calls else error))
            except _REFUSALS as error:
                answers.update(_outcome(change, error))
        written = [change for change in changes if answers.get(change.run_id) is APPLIED]
        if written:
            self._held.joined(written, theirs)
            joined.when_ended(theirs, lambda: self._held.ended(written, theirs))
        return answers


def _outcome(change: Change, error: BaseException) -> Answers:
    """The outcome of a change that was rolled back for this error; none if the present records tell it."""
    if isinstance(error, CallbackGone):
        return {change.run_id: CALLBACK_GONE}
    if isinstance(error, OnCommitFailed):
        return {change.run_id: refused(error.error)}
    if is_locked(error) or is_rolled_back(error):
        return {change.run_id: BUSY}
    if violates(error, "runs_live"):
        return {}
    return {change.run_id: refused(_named(change, error))}


def _too_large(change: Change) -> ValueError | None:
    try:
        if isinstance(change, NewVersion):
            check_size("object", len(change.record.object))
    except ValueError as error:
        return error
    return None


def _named(change: Change, error: BaseException) -> Exception:
    """An error that names the field at fault, if one is; else the error itself."""
    try:
        check_change(change)
    except ValueError as wrong:
        wrong.__cause__ = error
        return wrong
    return error if isinstance(error, Exception) else RuntimeError(repr(error))
