"""The server: how it is reached, how a connection is opened, and which tasks use one.

Every use of a connection runs in a task of its own, so that cancelling a caller never cuts a transaction.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeAlias, TypeVar

import asyncpg
import msgspec

from workflow.errors import BackendNotOpen

__all__ = ["Connection", "Row", "Server", "ServerSettings"]

T = TypeVar("T")
Connection: TypeAlias = asyncpg.Connection
Row: TypeAlias = asyncpg.Record

_CANCEL_WITHIN = 1.0
"""Seconds that a caller who is cancelled waits for the end of its call."""

_SESSION: Mapping[str, str] = {
    # The compare-and-swap is in the statement that writes: more isolation would only make it fail.
    "default_transaction_isolation": "read committed",
    # A machine that vanishes says nothing: without this the server would keep its connections for two hours.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}


_HINT = "it is malformed; are the special characters of its user and password percent-encoded?"


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

    def __repr__(self) -> str:
        """Without the addresses: they hold passwords."""
        return f"<{type(self).__name__}>"

    @property
    def pooled(self) -> bool:
        """True if each transaction may run on another server connection."""
        return self.statement_cache_size == 0


class Server:
    """Opens connections while it is open, and keeps the tasks that use them.

    Attributes:
        settings: how it is reached.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open = False

    def open(self) -> None:
        """Allow connections from now on."""
        self._open = True

    def close(self) -> None:
        """Allow no more connections."""
        self._open = False

    async def connect(
        self, name: str, settings: Mapping[str, str], *, within: float | None, listening: bool = False
    ) -> Connection:
        """A connection of the caller's own; a pooler would refuse settings, so there it gets none.

        Without `within` it waits for statements however long they take: a migration may have to build an index.

        Raises:
            BackendNotOpen: the backend is not entered.
            ValueError: the address cannot be used. It is not shown: the driver takes a part of the password for the
                port if a character of it is not percent-encoded.
        """
        if not self._open:
            raise BackendNotOpen("the Postgres backend is not open: use `async with` on it")
        server = self.settings
        address, called = server.dsn, "dsn"
        if listening and server.listen_dsn:
            address, called = server.listen_dsn, "listen_dsn"
        try:
            return await asyncpg.connect(
                address,
                timeout=server.connect_timeout,  # pyright: ignore[reportArgumentType]
                command_timeout=within,
                statement_cache_size=server.statement_cache_size,
                max_cached_statement_lifetime=0,
                max_cacheable_statement_size=0,
                server_settings=None
                if server.pooled
                else {**_SESSION, **settings, "application_name": f"workflow {name}"},
            )
        except ValueError as error:
            told = str(error) if isinstance(error, asyncpg.ClientConfigurationError) else _HINT
        raise ValueError(f"the Postgres address {called}= cannot be used: {told}")

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in a task of its own, and return its result; it goes on to its end when the caller is cancelled.

        The cancellation is delivered when that end has come, so that it falls between calls; after a second it does
        not wait any longer, because a server that is gone must not keep a process from stopping.
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

    async def quiet(self, within: float) -> None:
        """Wait at most so many seconds for the tasks under way."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=within)
