"""The user's functions, called in the transaction that moves a run.

Owns the border to them. Whatever a function raises, catches, ends or leaves behind is a failed attempt of its own run:
it is never taken for a failure of the server, and nothing of it reaches the next run that gets the connection.
"""

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable, Sequence

import asyncpg

from workflow.protocols import OnCommit

from .failures import LOST, described, is_locked, is_lost, is_rolled_back, is_transient, outcome_unknown, unavailable
from .lane import Lane
from .server import Connection

__all__ = ["OnCommitFailed", "call_functions", "call_in_transaction", "failed_by"]

_TRIES = 3
"""How often a transaction is tried that ends in a deadlock or the like, before that is a failed attempt."""

_STEP_BACK = 0.05
"""Seconds, times the try, that it waits at most before the next."""

_CHECK_AND_CLEAN = (
    # Constraints that wait for the commit speak now, while their error is certain to have undone everything.
    "set constraints all immediate; "
    # The connection serves other runs next: settings, role, locks and cursors go back to what they were.
    "reset session authorization; reset role; reset all; select pg_advisory_unlock_all(); unlisten *; close all"
)


class OnCommitFailed(Exception):
    """A user's function failed; nothing of its transaction was written.

    Attributes:
        error: its own exception, or one that says what it did.
        lost: the connection was lost while it ran.
    """

    def __init__(self, error: Exception, *, lost: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.lost = error, lost


async def call_functions(functions: Sequence[OnCommit], connection: Connection) -> None:
    """Call the user's functions with the connection of the transaction, one after the other.

    Raises:
        OnCommitFailed: one of them failed, or ended the transaction.
    """
    for function in functions:
        name = getattr(function, "__qualname__", repr(function))
        try:
            await _call(function, name, connection)
        except Exception as error:
            raise OnCommitFailed(error, lost=connection.is_closed()) from error
        if connection.is_closed():
            raise OnCommitFailed(RuntimeError(f"on_commit: the connection was lost while {name} ran"), lost=True)
        if not connection.is_in_transaction():
            raise OnCommitFailed(
                RuntimeError(f"on_commit: {name} ended the transaction; neither commit nor roll back in it")
            )


async def _call(function: OnCommit, name: str, connection: Connection) -> None:
    task = asyncio.current_task()
    assert task is not None, "connections are used in tasks"
    try:
        result = function(connection)
        if inspect.isawaitable(result):
            await result
    except asyncio.CancelledError as error:
        # No caller ever cancels a task that uses a connection: the function cancelled it, or what it waited for.
        while task.cancelling():
            task.uncancel()
        raise RuntimeError(f"on_commit: {name} was cancelled, by itself or by something it waited for") from error
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"on_commit: {name} raised {type(error).__name__}, which is no Exception") from error


async def call_in_transaction(
    lane: Lane, write: Callable[[Connection], Awaitable[bool]], functions: Sequence[OnCommit]
) -> bool:
    """Write by compare-and-swap, and only if that was applied call the user's functions before committing.

    Returns:
        Whether it was applied.

    Raises:
        Unavailable: nothing was written.
        OutcomeUnknown: the connection was lost at the commit.
        OnCommitFailed: a function failed; nothing was written.
    """

    async def work(connection: Connection) -> bool:
        return await _one_try(connection, lane, write, functions)

    for tries in range(1, _TRIES + 1):
        try:
            return await lane.borrow(work)
        except OnCommitFailed as failed:
            if failed.lost:
                # Who cut it? If the server can be reached, it was not an outage.
                await lane.reach()
            passes = is_rolled_back(failed.error) or is_locked(failed.error)
            if tries == _TRIES or not passes:
                raise
        await asyncio.sleep(random.uniform(0, _STEP_BACK * tries))  # noqa: S311 - no secret
    raise AssertionError("unreachable")


async def _one_try(
    connection: Connection, lane: Lane, write: Callable[[Connection], Awaitable[bool]], functions: Sequence[OnCommit]
) -> bool:
    # The driver's own transaction object: users nest others in it, as savepoints.
    transaction = connection.transaction(isolation="read_committed")
    try:
        await transaction.start()
    except LOST as error:
        raise unavailable(error) from error
    try:
        await lane.prepare(connection)
        applied = await write(connection)
        if applied:
            await call_functions(functions, connection)
            await _check_and_clean(connection)
    except BaseException as error:
        if not connection.is_closed():
            await transaction.rollback()  # also if the function ended it: the driver still believes in it
        elif isinstance(error, LOST):
            raise unavailable(error) from error
        if isinstance(error, LOST) and is_transient(error):
            raise unavailable(error) from error
        raise
    try:
        await transaction.commit()
    except LOST as error:
        if connection.is_closed() or is_lost(error):
            raise outcome_unknown(error) from error
        # The server said so itself, and ended the transaction with it.
        raise (unavailable(error) if is_transient(error) else failed_by(error)) from error
    return applied


async def _check_and_clean(connection: Connection) -> None:
    """Learn now whether the commit will succeed, and undo what the functions did to the session."""
    try:
        await connection.execute(_CHECK_AND_CLEAN)
    except asyncpg.PostgresError as error:
        if connection.is_closed() or is_lost(error):
            raise
        raise failed_by(error) from error


def failed_by(error: BaseException) -> OnCommitFailed:
    """What an error of the server means that came after the functions, when their work was to be kept."""
    if isinstance(error, asyncpg.InFailedSQLTransactionError):
        return OnCommitFailed(
            RuntimeError(
                "on_commit: a statement failed and the function caught the error, but Postgres had given the whole "
                "transaction up by then; what may fail belongs in `async with connection.transaction():`, a savepoint"
            )
        )
    return OnCommitFailed(error if isinstance(error, Exception) else RuntimeError(described(error)))
