"""Connections to the server, and the only way to use one.

Owns lanes: small sets of own connections with a fair queue. The driver's pool costs half of the throughput because it
resets every connection it gets back; nothing here leaves anything behind that would need it.

- Every use runs in a task of its own, so that cancelling a caller never cuts a transaction.
- Lanes are separate, so that reads cannot starve commits, and neither can starve the heartbeat.
- Behind a transaction pooler (`statement_cache_size=0`) two round trips may meet two servers: then every use is one
  explicit transaction, and session settings become settings of that transaction.
- A lost connection is replaced by the next use; while the server cannot be reached, a use waits for the back-off and
  raises `Unavailable`, so that no caller can hammer a server that starts.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Self, TypeAlias, TypeVar

import asyncpg
import msgspec

from workflow.errors import BackendNotOpen

from .failures import LOST, described, is_lost, is_rolled_back, is_transient, outcome_unknown, unavailable

__all__ = ["Connection", "Connections", "Lane", "Row", "ServerSettings"]

T = TypeVar("T")
Connection: TypeAlias = asyncpg.Connection
Row: TypeAlias = asyncpg.Record

_ATTEMPTS = 6
"""How often a transaction is tried at once that the server rolls back for a deadlock or serialization failure."""

_STEP_BACK = 0.02
"""Seconds, times the attempt, that it waits at most before the next: whoever won should be through by then."""

_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 0.05, 1.0
"""Seconds between attempts to connect."""

_CANCEL_WITHIN = 1.0
"""Seconds that a caller who is cancelled waits for the end of its call."""

_CLOSE_WITHIN = 5.0
"""Seconds that closing waits for what is under way before it cuts the connections."""

_log = logging.getLogger("workflow.postgres")

PLANNER: Mapping[str, str] = {
    # The statements are few, known, and meant to be served by an index whatever the statistics say of a young table.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}

_SESSION: Mapping[str, str] = {
    # The compare-and-swap is in the statement that writes: more isolation would only make it fail.
    "default_transaction_isolation": "read committed",
    # A machine that vanishes says nothing: without this the server would keep its connections for two hours.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the server.

    Attributes:
        dsn: where the server is.
        listen_dsn: where it can be listened to, when `dsn` is a pooler.
        statement_cache_size: 0 behind a transaction pooler.
        command_timeout: seconds after which a statement counts as lost.
        connect_timeout: seconds for opening a connection.
    """

    dsn: str
    listen_dsn: str = ""
    statement_cache_size: int = 100
    command_timeout: float = 30.0
    connect_timeout: float = 10.0

    @property
    def pooled(self) -> bool:
        """True if each transaction may run on another server connection."""
        return self.statement_cache_size == 0


class Lane:
    """A few connections for one kind of work, handed out first come first served."""

    def __init__(self, owner: "Connections", name: str, size: int, settings: Mapping[str, str], within: float) -> None:
        self._owner, self._name, self._settings, self._within = owner, name, dict(settings), within
        # The last given back is the first used again, so that a quiet process keeps few connections busy.
        self._free: list[Connection | None] = [None] * size
        self._size = size
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._used: set[Connection] = set()
        self._back_off = 0.0
        self._begin = ""
        self.insist({})

    def insist(self, settings: Mapping[str, str]) -> None:
        """Have these settings, too, on every connection that is opened from now on."""
        self._settings.update(settings)
        local = "; ".join(f"set local {key} = '{value}'" for key, value in self._settings.items())
        self._local = local if self._owner.server.pooled else ""
        self._begin = f"begin isolation level read committed; {self._local}"

    async def fetch(self, sql: str, *args: object) -> Sequence[Row]:
        """The rows of a statement that writes nothing.

        Raises:
            Unavailable: the server cannot be reached, or not in time.
        """
        try:
            return await self._owner.finish(self._with_connection(lambda c: self._read(c, sql, args)))
        except LOST as error:
            if not is_lost(error) and not is_transient(error):
                raise
        try:  # once more: the connection may have been lost long ago, and a read may be repeated
            return await self._owner.finish(self._with_connection(lambda c: self._read(c, sql, args)))
        except LOST as error:
            if is_lost(error) or is_transient(error):
                raise unavailable(error) from error
            raise

    async def write(self, sql: str, *args: object) -> Sequence[Row]:
        """The rows of one statement that is a transaction of its own.

        Raises:
            Unavailable: nothing was written.
            OutcomeUnknown: the connection was lost after the statement had been sent.
        """
        if self._owner.server.pooled:
            return await self.transaction(lambda c: c.fetch(sql, *args))
        return await self._owner.finish(self._with_connection(lambda c: self._write(c, sql, args)))

    async def transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What `work` returns, after the transaction it ran in is committed; it may be called again after a deadlock.

        Raises:
            Unavailable: nothing was written.
            OutcomeUnknown: the connection was lost at the commit.
        """
        return await self._owner.finish(self._with_connection(lambda c: self._transaction(c, work)))

    async def borrow(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What `work` returns; it begins and ends its transactions itself, prepares them, and maps its errors."""
        return await self._owner.finish(self._with_connection(work))

    async def prepare(self, connection: Connection) -> None:
        """Give a transaction that has just begun the settings of this lane, if its connection could not keep them."""
        if self._local:
            await connection.execute(self._local)

    async def _read(self, connection: Connection, sql: str, args: Sequence[object]) -> Sequence[Row]:
        if not self._owner.server.pooled:
            rows: Sequence[Row] = await connection.fetch(sql, *args)
            return rows
        await connection.execute(self._begin)
        rows = await connection.fetch(sql, *args)
        await connection.execute("commit")
        return rows

    async def _write(self, connection: Connection, sql: str, args: Sequence[object]) -> Sequence[Row]:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                rows: Sequence[Row] = await connection.fetch(sql, *args)
                return rows
            except LOST as error:
                if is_lost(error):
                    raise outcome_unknown(error) from error
                if is_transient(error):
                    raise unavailable(error) from error
                await _step_back(error, attempt)
        raise AssertionError("unreachable")

    async def _transaction(self, connection: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await connection.execute(self._begin)
                result = await work(connection)
            except LOST as error:
                if is_lost(error) or is_transient(error):
                    raise unavailable(error) from error
                await connection.execute("rollback")
                await _step_back(error, attempt)
                continue
            await self._commit(connection)
            return result
        raise AssertionError("unreachable")

    @staticmethod
    async def _commit(connection: Connection) -> None:
        try:
            await connection.execute("commit")
        except LOST as error:
            # Whatever goes wrong here goes wrong while the server commits: even its own error may come too late.
            raise outcome_unknown(error) from error

    async def _with_connection(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        connection = await self._take()
        try:
            if connection is None or connection.is_closed():
                connection = await self._connect()
            self._used.add(connection)
            return await work(connection)
        except BaseException as error:
            if connection is not None and await self._is_spoilt(connection, error):
                connection.terminate()
            raise
        finally:
            if connection is not None:
                self._used.discard(connection)
                if connection.is_closed():
                    connection = None
            self._give(connection)

    @staticmethod
    async def _is_spoilt(connection: Connection, error: BaseException) -> bool:
        if connection.is_closed() or is_lost(error) or (error.__cause__ is not None and is_lost(error.__cause__)):
            return True
        if not isinstance(error, Exception):
            return True
        if connection.is_in_transaction():
            try:
                await connection.execute("rollback")
            except LOST:
                return True
        return False

    async def _take(self) -> Connection | None:
        if self._free:
            return self._free.pop()
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        return await turn

    def _give(self, connection: Connection | None) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                # Handed over directly: whoever gave it back must not barge ahead of those who wait.
                turn.set_result(connection)
                return
        self._free.append(connection)

    async def _connect(self) -> Connection:
        try:
            connection = await self._owner.connect(self._name, self._settings, within=self._within)
        except LOST as error:
            self._back_off = min(max(self._back_off * 2, _FIRST_BACK_OFF), _LONGEST_BACK_OFF)
            _log.warning(
                "cannot connect for %s, next attempt in %.2g s: %s", self._name, self._back_off, described(error)
            )
            await asyncio.sleep(self._back_off)
            raise unavailable(error) from error
        self._back_off = 0.0
        return connection

    async def close(self) -> None:
        """Close every connection; what is still under way has been given its time and is cut."""
        for connection in self._used:
            connection.terminate()
        idle = [connection for connection in self._free if connection is not None]
        self._free = [None] * len(self._free)
        for connection in idle:
            try:
                await connection.close(timeout=1.0)
            except LOST:
                connection.terminate()


async def _step_back(error: BaseException, attempt: int) -> None:
    """Wait a moment before the next attempt, if the server asked for one.

    Raises:
        Unavailable: it was asked for too often; nothing was written.
        BaseException: the error, if it is another.
    """
    if not is_rolled_back(error):
        raise error
    if attempt == _ATTEMPTS:
        raise unavailable(error) from error
    await asyncio.sleep(random.uniform(0, _STEP_BACK * attempt))  # noqa: S311 - no secret


class Connections:
    """All lanes of one backend, and the tasks that use them."""

    def __init__(self, server: ServerSettings) -> None:
        self.server = server
        self._lanes: list[Lane] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open = False

    def lane(self, name: str, size: int, *, within: float | None = None, **settings: str) -> Lane:
        """A new lane; connections are opened when they are first needed, and named for `pg_stat_activity`.

        A statement that takes longer than `within` seconds (the command timeout, if not given) counts as lost; and the
        server rolls a transaction back in which nothing happens for so long, because a process that freezes or
        vanishes must not keep its locks.
        """
        within = within or self.server.command_timeout
        idle = {"idle_in_transaction_session_timeout": f"{int(within * 1000)}ms"}
        lane = Lane(self, name, size, {**PLANNER, **idle, **settings}, within)
        self._lanes.append(lane)
        return lane

    async def __aenter__(self) -> Self:
        """Connections are allowed from now on; each is made when it is first needed."""
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(
        self, name: str, settings: Mapping[str, str], *, within: float | None, listening: bool = False
    ) -> Connection:
        """A connection of the caller's own; a pooler would refuse settings, so there it gets none.

        Without `within` it waits for statements however long they take: a migration may have to build an index.
        """
        if not self._open:
            raise BackendNotOpen("the Postgres backend is not open: use `async with` on it")
        server = self.server
        return await asyncpg.connect(
            server.listen_dsn or server.dsn if listening else server.dsn,
            timeout=server.connect_timeout,  # pyright: ignore[reportArgumentType]
            command_timeout=within,
            statement_cache_size=server.statement_cache_size,
            max_cached_statement_lifetime=0,
            max_cacheable_statement_size=0,
            server_settings=None if server.pooled else {**_SESSION, **settings, "application_name": f"workflow {name}"},
        )

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns; it goes on to its end in a task of its own when the caller is cancelled.

        The cancellation is delivered when that end has come, so that it falls between calls; after a second it does
        not wait any longer, because a server that is gone must not keep anybody from stopping.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=_CANCEL_WITHIN)
            raise

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that was cancelled no longer asks for it

    def insist(self, setting: str, value: str) -> None:
        """Have this setting on every connection of every lane."""
        for lane in self._lanes:
            lane.insist({setting: value})

    async def close(self) -> None:
        """Wait a few seconds for what is under way, then close everything."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=_CLOSE_WITHIN)
        self._open = False
        for lane in self._lanes:
            await lane.close()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=1.0)
