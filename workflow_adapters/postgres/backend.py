"""The backend: its connections, and the four ports that share them.

Owns the order in which things are opened and closed, and how many connections each kind of work may use.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from types import TracebackType
from typing import Self

import asyncpg

from workflow.protocols import Backend

from .connections import Connections, ServerSettings
from .events import PostgresEventStreamer
from .failures import LOST, is_lost, is_transient, unavailable
from .joined import Joinable, Joined
from .names import quoted
from .records import PostgresRecordStore
from .roles import PostgresRoleScheduler
from .schema import migrate, verify
from .signals import Signals
from .timeouts import PostgresTimeoutStore
from .wake import SAFETY_NET

__all__ = ["PostgresBackend"]

_LOCK_TIMEOUT = "50ms"
"""How long a batch waits for somebody's uncommitted insert of the same key before it leaves that change out."""


class _Core(AbstractAsyncContextManager["_Core"]):
    """What the ports share: opened before them, closed after them."""

    def __init__(self, connections: Connections, signals: Signals, schema: str, *, migrate: bool) -> None:
        self._connections, self._signals, self._schema, self._migrate = connections, signals, schema, migrate

    async def __aenter__(self) -> Self:
        try:
            connection = await self._connections.connect("opening", {})
        except LOST as error:
            if is_lost(error) or is_transient(error):
                raise unavailable(error) from error
            raise
        try:
            await _check_server(connection)
            await (migrate if self._migrate else verify)(connection, self._schema)
        finally:
            await connection.close(timeout=5)
        await self._signals.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._signals.stop()
        await self._connections.close()

    async def crash(self) -> None:
        """End at once, as kill -9 would: nothing is released, flushed or announced."""
        self._connections.abort()
        await self._signals.stop()


async def _check_server(connection: asyncpg.Connection) -> None:
    if await connection.fetchval("select current_setting('fsync')") != "on":
        raise ValueError("Postgres runs with fsync = off: what it acknowledges is lost when the machine stops")


class PostgresBackend(Backend):
    """Runs, events, roles and timers in one schema of a Postgres database, 15 or newer.

    Args:
        dsn: where the database is.
        schema: the schema that holds the tables; several may share a database.
        migrate: apply missing migrations when the backend is entered; otherwise refuse a schema that is behind.
        statement_cache_size: 0 behind a pooler in transaction mode.
        listen_dsn: a direct address for wake-ups, when `dsn` is a pooler. Without it, a pooled backend polls.
        listen: False to poll instead of listening for wake-ups.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "workflow",
        migrate: bool = True,
        statement_cache_size: int = 100,
        lease_time: timedelta = timedelta(seconds=10),
        listen: bool = True,
        listen_dsn: str = "",
        command_timeout: float = 30.0,
        partitions: int = 16,
        safety_net: float = SAFETY_NET,
    ) -> None:
        quoted(schema)  # a wrong name is refused here
        server = ServerSettings(
            dsn=dsn, listen_dsn=listen_dsn, statement_cache_size=statement_cache_size, command_timeout=command_timeout
        )
        connections = Connections(server)
        commits = connections.lane("commits", 2, lock_timeout=_LOCK_TIMEOUT)
        calls = connections.lane("on_commit", 4, lock_timeout=_LOCK_TIMEOUT)
        reads = connections.lane("reads", 4)
        stream = connections.lane("stream", 2)
        signalling = connections.lane("wake-ups", 1)
        signals = Signals(
            connections, signalling, reads, schema=schema, listen=listen and bool(not server.pooled or listen_dsn)
        )
        self._joined = Joined()
        self._core = _Core(connections, signals, schema, migrate=migrate)
        records = PostgresRecordStore(
            commits=commits,
            calls=calls,
            reads=reads,
            outbox=stream,
            schema=schema,
            joined=self._joined,
            woken=lambda name: signals.send("outbox", name),
            safety_net=safety_net,
        )
        signals.on("outbox", records.wake)
        events = PostgresEventStreamer(
            sends=stream, reads=reads, signals=signals, schema=schema, partitions=partitions, safety_net=safety_net
        )
        timeouts = PostgresTimeoutStore(
            writes=stream, reads=reads, signals=signals, schema=schema, safety_net=safety_net
        )
        roles = PostgresRoleScheduler(connections.lane("roles", 1), signals, schema=schema, lease_time=lease_time)
        super().__init__(records, events, roles, timeouts)

    def parts(self) -> Sequence[object]:
        """The connections first, so that they are closed last."""
        return (self._core, *super().parts())

    def joined(self, connection: Joinable) -> AbstractAsyncContextManager[None]:
        """A context in which this task's triggers, callbacks, pauses and cancellations join a transaction.

        They happen if and only if the transaction commits. Inside, the calling task alone may use the connection.

        Args:
            connection: an asyncpg connection in a transaction, or an SQLAlchemy asyncio session or connection.
        """
        return self._joined.join(connection)
