"""The backend: its connections, and the four ports that share them.

Owns the order in which things are opened and closed, and how many connections each kind of work may use.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Self

import asyncpg

from workflow.protocols import Backend, WakeUp

from .connections import Connections
from .events import PostgresEventStreamer
from .failures import LOST, is_lost, is_transient, unavailable
from .joined import Joinable, Joined
from .lane import Lane
from .names import quoted
from .record_store import PostgresRecordStore
from .retention import Retention, Tidier
from .roles import PostgresRoleScheduler
from .schema import migrate, verify
from .server import ServerSettings
from .signals import SAFETY_NET, Signals
from .timeouts import PostgresTimeoutStore

__all__ = ["PostgresBackend"]

_OLDEST = 15_00_00

_LOCK_TIMEOUT = "50ms"
"""How long a batch waits for another transaction's insert of the same key before that change is left out."""

_USERS_LOCK_TIMEOUT = "5s"
"""How long a statement of `on_commit` waits for a row that another transaction holds."""

_CONNECT_WITHIN = 10.0

_OPENING_IDLE = "60s"
"""How long a process that froze while it migrated keeps others from starting."""


class _Core(AbstractAsyncContextManager["_Core"]):
    """What the ports share: opened before them, closed after them."""

    def __init__(
        self, connections: Connections, signals: Signals, schema: str, *, migrate: bool, allow_fsync_off: bool
    ) -> None:
        self._connections, self._signals, self._schema, self._migrate = connections, signals, schema, migrate
        self._allow_fsync_off = allow_fsync_off

    async def __aenter__(self) -> Self:
        try:
            await self._prepare()
        except LOST as error:
            if is_lost(error) or is_transient(error):
                raise unavailable(error) from error
            raise
        await self._signals.start()
        return self

    async def _prepare(self) -> None:
        settings = {"idle_in_transaction_session_timeout": _OPENING_IDLE}
        connection = await self._connections.connect("opening", settings, within=None)
        try:
            await self._check(connection)
            await (migrate if self._migrate else verify)(connection, self._schema)
        finally:
            await connection.close(timeout=5)

    async def _check(self, connection: asyncpg.Connection) -> None:
        row = await connection.fetchrow(_SERVER)
        assert row is not None, "current settings are always one row"
        version, fsync, durable, encoding = row
        if version < _OLDEST:
            raise ValueError(f"Postgres {version // 10_000} is too old: 15 or newer is needed")
        if encoding != "UTF8":
            raise ValueError(
                f"the encoding of the Postgres database is {encoding}, which cannot hold every text: UTF8 is needed"
            )
        if not fsync and not self._allow_fsync_off:
            raise ValueError(
                "Postgres runs with fsync = off: what it acknowledges is lost when the machine stops "
                "(allow_fsync_off=True to use it all the same)"
            )
        if not durable:
            # What is acknowledged must be on disk; what need not be says so itself.
            self._connections.insist("synchronous_commit", "on")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._signals.stop()


_SERVER = """
select current_setting('server_version_num')::integer, current_setting('fsync') = 'on',
    current_setting('synchronous_commit') <> 'off', current_setting('server_encoding')
"""


class PostgresBackend(Backend):
    """Runs, events, roles and timers in one schema of a Postgres database, 15 or newer.

    Args:
        dsn: where the database is.
        schema: the schema that holds the tables; several may share a database.
        migrate: apply missing migrations when the backend is entered; otherwise refuse a schema that is behind.
        statement_cache_size: 0 behind a pooler in transaction mode.
        listen: False to poll instead of listening for wake-ups.
        listen_dsn: a direct address for wake-ups, when `dsn` is a pooler. Without it, a pooled backend polls.
        lease_time: after which a process that died is replaced.
        retention: what is removed when.
        partitions: how many partitions each topic has; counts only when the tables are made.
        command_timeout: after which a statement or an attempt to connect (10 seconds at most) that is not answered
            counts as lost: how long a broken network goes unnoticed.
        allow_fsync_off: use a server that may lose what it acknowledged, as some do for tests.
        safety_net: after which a subscriber looks again although nothing was heard.
        release: of the user's program, as other processes see it; by default the environment variable
            WORKFLOW_RELEASE.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "workflow",
        migrate: bool = True,
        statement_cache_size: int = 100,
        listen: bool = True,
        listen_dsn: str = "",
        lease_time: timedelta = timedelta(seconds=10),
        retention: Retention = Retention(),  # noqa: B008 - frozen
        partitions: int = 16,
        command_timeout: timedelta = timedelta(seconds=30),
        allow_fsync_off: bool = False,
        safety_net: timedelta = timedelta(seconds=SAFETY_NET),
        release: str | None = None,
    ) -> None:
        quoted(schema)  # a wrong name is refused here
        server = ServerSettings(
            dsn=dsn.replace("postgresql+asyncpg://", "postgresql://", 1),
            listen_dsn=listen_dsn,
            statement_cache_size=statement_cache_size,
            command_timeout=command_timeout.total_seconds(),
            connect_timeout=min(_CONNECT_WITHIN, command_timeout.total_seconds()),
        )
        connections = Connections(server)
        reads, stream = connections.lane("reads", 4), connections.lane("stream", 2)
        listens = listen and bool(not server.pooled or listen_dsn)
        signals = Signals(connections, connections.lane("wake-ups", 1), reads, schema=schema, listen=listens)
        net = safety_net.total_seconds()
        self._joined = Joined()
        self._connections = connections
        self._core = _Core(connections, signals, schema, migrate=migrate, allow_fsync_off=allow_fsync_off)
        self._tidier = Tidier(connections.lane("retention", 1), schema=schema, retention=retention)
        super().__init__(
            _records(connections, signals, reads, stream, schema, self._joined, net),
            PostgresEventStreamer(
                sends=stream, reads=reads, signals=signals, schema=schema, partitions=partitions, safety_net=net
            ),
            PostgresRoleScheduler(
                connections.lane("roles", 1, within=min(lease_time, command_timeout).total_seconds()),
                signals,
                schema=schema,
                lease_time=lease_time,
                release=release,
            ),
            PostgresTimeoutStore(writes=stream, reads=reads, signals=signals, schema=schema, safety_net=net),
            release=release,
        )

    def parts(self) -> Sequence[object]:
        """The connections first, so that they are closed last."""
        return (self._connections, self._core, self._joined, *super().parts(), self._tidier)

    async def tidy(self) -> None:
        """Remove now what the retention allows; otherwise a process looks once in a while."""
        await self._tidier.tidy()

    def joined(self, connection: Joinable) -> AbstractAsyncContextManager[None]:
        """A context in which this task's triggers, callbacks, pauses and cancellations join a transaction.

        They happen if and only if the transaction commits. Inside, the calling task alone may use the connection.

        Args:
            connection: an asyncpg connection in a transaction, or an SQLAlchemy asyncio session or connection.
        """
        return self._joined.join(connection)


def _records(
    connections: Connections, signals: Signals, reads: Lane, side: Lane, schema: str, joined: Joined, net: float
) -> PostgresRecordStore:
    records = PostgresRecordStore(
        commits=connections.lane("commits", 2, lock_timeout=_LOCK_TIMEOUT),
        calls=connections.lane("on_commit", 4, lock_timeout=_USERS_LOCK_TIMEOUT),
        apart=connections.lane("held", 1, lock_timeout=_LOCK_TIMEOUT),
        reads=reads,
        side=side,
        schema=schema,
        joined=joined,
        announce=lambda kind, name: signals.send(kind.name.lower(), name),
        safety_net=net,
    )
    for kind in (WakeUp.OUTBOX, WakeUp.HELD_CALLBACKS):
        signals.on(kind.name.lower(), partial(records.wake, kind))
    return records
