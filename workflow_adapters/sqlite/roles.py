"""The role scheduler: the shared lease keeper on two tables of the file."""

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from types import TracebackType
from typing import Self

from workflow.errors import BackendNotOpen
from workflow.protocols import Holding, Lease, Member, RoleScheduler

from ..kit.identity import this_process
from ..kit.lease_keeper import LeaseKeeper
from ..kit.leases import Beat, Choose, LeaseStore
from .database import Database
from .leases import LeaseRows

__all__ = ["SQLiteRoleScheduler"]

_log = logging.getLogger("workflow.sqlite")


class _Store(LeaseStore):
    """Writes the rows lazily: after a power failure no process of the machine holds anything."""

    def __init__(self, database: Database, rows: LeaseRows) -> None:
        self._database, self._rows = database, rows

    async def beat(self, wants: Mapping[str, str], held: Mapping[str, int], choose: Choose) -> Beat:
        """One heartbeat, in one transaction."""

        def work(connection: sqlite3.Connection) -> Beat:
            return self._rows.beat(connection, wants, held, choose)

        return await self._database.write(work, lazy=True)

    async def release(self, leases: Mapping[str, int], wants: Mapping[str, str]) -> None:
        """Free these roles, held with these tokens."""
        await self._database.write(lambda c: self._rows.release(c, leases, wants), lazy=True)

    async def leave(self) -> None:
        """This process lives no more."""
        await self._database.write(self._rows.leave, lazy=True)


class SQLiteRoleScheduler(RoleScheduler):
    """The roles of a file.

    Args:
        database: the file.
        lease_time: after which a process that died is replaced.
        release: of the user's program; None to take it from the environment.
    """

    def __init__(self, database: Database, lease_time: timedelta, release: str | None = None) -> None:
        self._database, self._release = database, release
        self._lease_time = lease_time.total_seconds()
        self._rows: LeaseRows | None = None
        self._keeper: LeaseKeeper | None = None
        database.signals.on("roles", self._hear)

    async def __aenter__(self) -> Self:
        process = this_process(self._release)
        self._rows = LeaseRows(process, self._lease_time)
        self._keeper = await LeaseKeeper(
            _Store(self._database, self._rows),
            process=process.id,
            lease_time=self._lease_time,
            tell_others=lambda: self._database.signals.send("roles"),
            log=_log,
        ).__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.__aexit__(kind, error, trace)

    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        """Wait for the role and hold it; see the port.

        Raises:
            BackendNotOpen: the backend is not entered.
        """
        if self._keeper is None:
            raise BackendNotOpen("the role scheduler is not open: use `async with` on the backend")
        return self._keeper.hold(role, group)

    async def members(self) -> Sequence[Member]:
        """The live processes, by id."""
        return await self._database.read(self._opened().members)

    async def holdings(self) -> Sequence[Holding]:
        """Every role that was held within the last day, by role."""
        return await self._database.read(self._opened().holdings)

    def _opened(self) -> LeaseRows:
        if self._rows is None:
            raise BackendNotOpen("the role scheduler is not open: use `async with` on the backend")
        return self._rows

    def _hear(self, _key: str | None) -> None:
        if self._keeper is not None:
            self._keeper.wake()
