"""Transactions of the user's, in which changes are written.

Owns the mark that says which connection the calling task has joined, and the watch for the end of its transaction: a
joined change is not visible before the user commits, so it is announced then. If that announcement is missed, the
relay finds the event at its next look.
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

__all__ = ["Joinable", "Joined", "to_end"]

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


class Joined(AbstractAsyncContextManager["Joined"]):
    """Which transaction of the user's each task has joined; one for every backend."""

    def __init__(self) -> None:
        # A task that is started inside inherits the context but not the transaction, so the mark names its task.
        self._mark: ContextVar[tuple[asyncio.Task[Any] | None, Connection] | None] = ContextVar("joined", default=None)
        self._ends: dict[Connection, list[Callable[[], None]]] = {}
        self._watching: set[asyncio.Task[None]] = set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    def when_ended(self, connection: Connection, call: Callable[[], None]) -> None:
        """Call this soon after the transaction that the connection is in has ended, however it did."""
        calls = self._ends.setdefault(connection, [])
        calls.append(call)
        if len(calls) == 1:
            task = asyncio.get_running_loop().create_task(self._watch(connection))
            self._watching.add(task)
            task.add_done_callback(self._watching.discard)

    async def _watch(self, connection: Connection) -> None:
        end = time.monotonic() + _LOOK_FOR
        try:
            while time.monotonic() < end and not connection.is_closed() and connection.is_in_transaction():
                await asyncio.sleep(_LOOK_EVERY)
        finally:
            calls = self._ends.pop(connection)
        for call in calls:
            call()

    def connection(self) -> Connection | None:
        """The connection that the calling task has joined, if any."""
        mark = self._mark.get()
        return mark[1] if mark is not None and mark[0] is asyncio.current_task() else None

    @asynccontextmanager
    async def join(self, joinable: Joinable) -> AsyncIterator[None]:
        """Write the changes of this task through that connection, until the context is left."""
        connection = await _driver_connection(joinable)
        if not connection.is_in_transaction():
            raise ValueError("joined: the connection is not inside a transaction; begin one first")
        token = self._mark.set((asyncio.current_task(), connection))
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


async def _driver_connection(joinable: Any) -> Connection:
    """The asyncpg connection below what the user has; SQLAlchemy is recognised, never imported."""
    if hasattr(joinable, "exec_driver_sql") or hasattr(joinable, "connection"):
        joinable = joinable if hasattr(joinable, "exec_driver_sql") else await joinable.connection()
        # SQLAlchemy begins its transaction with the first statement.
        await joinable.exec_driver_sql("select 1")
        joinable = (await joinable.get_raw_connection()).driver_connection
    if not isinstance(joinable, asyncpg.Connection):  # a pool's proxy passes for one
        raise TypeError(f"joined: an asyncpg connection or an SQLAlchemy asyncio session, not {type(joinable)!r}")
    return joinable
