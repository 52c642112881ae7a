"""Transactions of the user's, in which changes are written.

Owns the mark that says which transaction the calling task has joined, and the watch for its end: a joined change is not
visible before the user commits, so it is announced then. If that announcement is missed, the relay finds the event at
its next look.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol, TypeAlias, TypeVar

import asyncpg

from .failures import LOST, is_lost, is_transient, unavailable
from .server import Connection

__all__ = ["Joinable", "Joined", "UsersTransaction", "to_end"]

T = TypeVar("T")

_LOOK_EVERY = 0.02
_LOOK_FOR = 60.0
"""Seconds between looks whether a user's transaction has ended (a look asks only the driver), and for how long."""


class _SQLAlchemyConnection(Protocol):
    async def get_raw_connection(self) -> Any: ...

    async def exec_driver_sql(self, statement: str) -> Any: ...


class _SQLAlchemySession(Protocol):
    async def connection(self) -> Any: ...


Joinable: TypeAlias = "Connection | _SQLAlchemyConnection | _SQLAlchemySession"
"""An asyncpg connection inside a transaction, or a connection or session of SQLAlchemy's asyncio extension."""


class UsersTransaction:
    """One transaction of the user's, as its driver sees it from outside.

    Its connection may be back in a pool when it is looked at, and in the next transaction already, of somebody else.

    Attributes:
        connection: the one that it is on.
        ended: set soon after it has ended, however it did.
    """

    def __init__(self, connection: Connection, is_checked_out: Callable[[], bool]) -> None:
        self.connection, self._is_checked_out = connection, is_checked_out
        self.ended = asyncio.Event()
        self._first = _outermost(connection)
        self._calls: list[Callable[[], None]] = []

    def is_over(self) -> bool:
        """True if it has ended."""
        connection = self.connection
        try:
            return (
                self.ended.is_set()
                or not self._is_checked_out()
                or connection.is_closed()
                or not connection.is_in_transaction()
                # None while the commit is under way.
                or _outermost(connection) not in (None, self._first)
            )
        except asyncpg.InterfaceError:
            return True  # a pool's proxy that was given back answers nothing any more

    def then(self, call: Callable[[], None]) -> bool:
        """Call this when it has ended; True if nobody watches for that yet."""
        self._calls.append(call)
        return len(self._calls) == 1

    async def watch(self) -> None:
        """Wait for its end, and make the calls."""
        end = time.monotonic() + _LOOK_FOR
        try:
            while time.monotonic() < end and not self.is_over():
                await asyncio.sleep(_LOOK_EVERY)
        finally:
            self.ended.set()
        for call in self._calls:
            call()


def _outermost(connection: Connection) -> object:
    """The driver's object for the transaction that the connection is in, None for one begun by hand.

    It is not public. Without it a transaction that follows at once on the same connection is taken for the first.
    """
    return getattr(connection, "_top_xact", None)


class Joined(AbstractAsyncContextManager["Joined"]):
    """Which transaction of the user's each task has joined; one for every backend."""

    def __init__(self) -> None:
        # A task that is started inside inherits the context but not the transaction, so the mark names its task.
        self._mark: ContextVar[tuple[asyncio.Task[Any] | None, UsersTransaction] | None] = ContextVar(
            "joined", default=None
        )
        self._watching: set[asyncio.Task[None]] = set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    def when_ended(self, transaction: UsersTransaction, call: Callable[[], None]) -> None:
        """Call this soon after the transaction has ended, however it did."""
        if transaction.then(call):
            task = asyncio.get_running_loop().create_task(transaction.watch())
            self._watching.add(task)
            task.add_done_callback(self._watching.discard)

    def transaction(self) -> UsersTransaction | None:
        """The transaction that the calling task has joined, if any."""
        mark = self._mark.get()
        return mark[1] if mark is not None and mark[0] is asyncio.current_task() else None

    def connection(self) -> Connection | None:
        """The connection of the transaction that the calling task has joined, if any."""
        transaction = self.transaction()
        return None if transaction is None else transaction.connection

    @asynccontextmanager
    async def join(self, joinable: Joinable) -> AsyncIterator[None]:
        """Write the changes of this task through that connection, until the context is left."""
        connection, is_checked_out = await _driver_connection(joinable)
        if not connection.is_in_transaction():
            raise ValueError("joined: the connection is not inside a transaction; begin one first")
        token = self._mark.set((asyncio.current_task(), UsersTransaction(connection, is_checked_out)))
        try:
            yield
        finally:
            self._mark.reset(token)

    async def run(self, connection: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What `work` returns, in a savepoint, so that its failure leaves the user's transaction usable."""
        try:
            return await to_end(_in_savepoint(connection, work))
        except LOST as error:
            if is_lost(error) or is_transient(error):
                # Their transaction cannot commit any more, so nothing was written.
                raise unavailable(error) from error
            raise


async def _in_savepoint(connection: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
    await connection.execute("savepoint workflow")
    try:
        result = await work(connection)
        await connection.execute("release savepoint workflow")
    except BaseException:
        if not connection.is_closed() and connection.is_in_transaction():
            await connection.execute("rollback to savepoint workflow; release savepoint workflow")
        raise
    return result


async def to_end(work: Awaitable[T]) -> T:
    """What `work` returns; a cancellation is delivered after it has ended, because the connection is the caller's."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()
        raise cancelled
    return task.result()


async def _driver_connection(joinable: Any) -> tuple[Connection, Callable[[], bool]]:
    """The asyncpg connection below what the user has, and whether that still has it.

    SQLAlchemy is recognised, never imported.
    """

    def is_checked_out() -> bool:
        return True

    if hasattr(joinable, "exec_driver_sql") or hasattr(joinable, "connection"):
        joinable = joinable if hasattr(joinable, "exec_driver_sql") else await joinable.connection()
        # SQLAlchemy begins its transaction with the first statement.
        await joinable.exec_driver_sql("select 1")
        lent = await joinable.get_raw_connection()
        joinable = lent.driver_connection

        def is_checked_out() -> bool:
            return bool(lent.is_valid)

    if not isinstance(joinable, asyncpg.Connection):  # a pool's proxy passes for one
        raise TypeError(f"joined: an asyncpg connection or an SQLAlchemy asyncio session, not {type(joinable)!r}")
    return joinable, is_checked_out
