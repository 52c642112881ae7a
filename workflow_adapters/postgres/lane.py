"""Lanes: small sets of connections, each for one kind of work, with a fair queue.

The driver's pool costs half of the throughput because it resets every connection it gets back; nothing here leaves
anything behind that would need it.

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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from .failures import LOST, described, is_lost, is_rolled_back, is_stale, is_transient, outcome_unknown, unavailable
from .server import Connection, Row, Server

__all__ = ["Lane"]

T = TypeVar("T")

_ATTEMPTS = 6
"""How often a transaction is tried at once that the server rolls back for a deadlock or serialization failure."""

_STEP_BACK = 0.02
"""Seconds, times the attempt, that it waits at most before the next: the winner should be through by then."""

_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 0.05, 1.0
"""Seconds between attempts to connect."""

_log = logging.getLogger("workflow.postgres")


class Lane:
    """A few connections for one kind of work, handed out first come first served."""

    def __init__(self, server: Server, name: str, size: int, settings: Mapping[str, str], within: float) -> None:
        self._server, self._name, self._settings, self._within = server, name, dict(settings), within
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
        self._local = local if self._server.settings.pooled else ""
        self._begin = f"begin isolation level read committed; {self._local}"

    async def fetch(self, sql: str, *args: object) -> Sequence[Row]:
        """Run a statement that writes nothing, and return its rows.

        Raises:
            Unavailable: the server cannot be reached, or not in time.
        """
        try:
            return await self._server.finish(self._with_connection(lambda c: self._read(c, sql, args)))
        except LOST as error:
            if not is_lost(error) and not is_transient(error):
                raise
        try:  # once more: the connection may have been lost long ago, and a read may be repeated
            return await self._server.finish(self._with_connection(lambda c: self._read(c, sql, args)))
        except LOST as error:
            if is_lost(error) or is_transient(error):
                raise unavailable(error) from error
            raise

    async def write(self, sql: str, *args: object) -> Sequence[Row]:
        """Run one statement as a transaction of its own, and return its rows.

        Raises:
            Unavailable: nothing was written.
            OutcomeUnknown: the connection was lost after the statement had been sent.
        """
        if self._server.settings.pooled:
            return await self.transaction(lambda c: c.fetch(sql, *args))
        return await self._server.finish(self._with_connection(lambda c: self._write(c, sql, args)))

    async def transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in a transaction, and return its result after the commit; a deadlock calls it again.

        Raises:
            Unavailable: nothing was written.
            OutcomeUnknown: the connection was lost at the commit.
        """
        return await self._server.finish(self._with_connection(lambda c: self._transaction(c, work)))

    async def borrow(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` with a connection, and return its result; it handles its transactions and errors itself."""
        return await self._server.finish(self._with_connection(work))

    async def reach(self) -> None:
        """Learn whether the server can be reached, by a connection that is closed at once.

        Raises:
            Unavailable: it cannot.
        """
        try:
            connection = await self._server.connect(self._name, self._settings, within=self._within)
            await connection.close(timeout=1.0)
        except LOST as error:
            raise unavailable(error) from error

    async def prepare(self, connection: Connection) -> None:
        """Give a transaction that has just begun the settings of this lane, if its connection could not keep them."""
        if self._local:
            await connection.execute(self._local)

    async def _read(self, connection: Connection, sql: str, args: Sequence[object]) -> Sequence[Row]:
        if not self._server.settings.pooled:
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
            try:
                await connection.execute("commit")
            except LOST as error:
                if is_lost(error):
                    raise outcome_unknown(error) from error
                # An error of the server's own settles it: the commit was refused, everything is rolled back.
                if is_transient(error):
                    raise unavailable(error) from error
                await _step_back(error, attempt)
                continue
            return result
        raise AssertionError("unreachable")

    async def _with_connection(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            return await self._once(work)
        except LOST as error:
            if not is_stale(error):
                raise
        # It was refused before it began, on a connection that is closed by now.
        return await self._once(work)

    async def _once(self, work: Callable[[Connection], Awaitable[T]]) -> T:
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
        if connection.is_closed() or is_lost(error) or is_stale(error):
            return True
        if error.__cause__ is not None and is_lost(error.__cause__):
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
                # Handed over directly: the one that gave it back must not overtake those that wait.
                turn.set_result(connection)
                return
        self._free.append(connection)

    async def _connect(self) -> Connection:
        try:
            connection = await self._server.connect(self._name, self._settings, within=self._within)
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
        """Close every connection; statements that are still under way are cut."""
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
