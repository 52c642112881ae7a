"""SQLite: a file of its own for each test; outages and crashes by a database that refuses every job."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.gate import ended
from workflow._model.change import OnCommit
from workflow._model.event import Event
from workflow._model.run_state import RunState
from workflow.errors import Unavailable
from workflow.protocols import Backend
from workflow_adapters.conformance import Capability, Emptying, Factory
from workflow_adapters.sqlite import SQLiteBackend


async def _refuse(*_: Any, **__: Any) -> Any:
    raise Unavailable("cut off by the test")


class SQLiteFactory(Factory):
    lacks = MappingProxyType(
        {
            Capability.CONNECTOR: "it brings no connector source",
            Capability.JOINED_TRANSACTIONS: "a file has one writer, the backend's own thread",
        }
    )
    lease_time = timedelta(seconds=1)

    def __init__(self, directory: Path) -> None:
        self._path = directory / "runs.db"

    def backend(self) -> Backend:
        return SQLiteBackend(self._path, lease_time=self.lease_time)

    async def crash(self, backend: Backend) -> None:
        await self.cut(backend)
        await ended(lambda: backend.__aexit__(None, None, None))

    async def cut(self, backend: Backend) -> None:
        assert isinstance(backend, SQLiteBackend)
        backend._database.write = _refuse  # type: ignore[method-assign]
        backend._database.read = _refuse  # type: ignore[method-assign]

    async def mend(self, backend: Backend) -> None:
        assert isinstance(backend, SQLiteBackend)
        del backend._database.write
        del backend._database.read

    async def spoil_outbox(self, backend: Backend, outbox_id: str) -> bytes:
        with sqlite3.connect(self._path, isolation_level=None, timeout=10) as connection:
            connection.execute("update outbox set data = ? where id = ?", (b"\xc1 spoiled", int(outbox_id)))
        connection.close()
        return b"\xc1 spoiled"

    async def empty_stream(self, how: Emptying) -> None:
        with sqlite3.connect(self._path, isolation_level=None, timeout=10) as connection:
            connection.execute("begin immediate")
            connection.execute("delete from events")
            if how is not Emptying.PLAIN:
                connection.execute("delete from sqlite_sequence where name = 'events'")
            if how is Emptying.WITHOUT_CURSORS:
                connection.execute("delete from cursors")
            connection.execute("commit")
        connection.close()

    def refused_event(self, topic: str) -> Event:
        return Event(
            topic=topic,
            workflow_name="refused",
            run_id="refused",
            foreign_id="\ud800 is no text",
            status=1,
            run_state=RunState.RUNNING,
            version=1,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    def business_write(self, value: str) -> OnCommit:
        def write(connection: sqlite3.Connection) -> None:
            connection.execute("create table if not exists business (value text)")
            connection.execute("insert into business values (?)", (value,))

        return write

    async def business_rows(self) -> Sequence[str]:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=10)
        connection.execute("create table if not exists business (value text)")
        rows = [row[0] for row in connection.execute("select value from business")]
        connection.close()
        return rows
