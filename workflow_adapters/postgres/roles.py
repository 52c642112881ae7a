"""The role scheduler: the shared lease keeper on two tables of the database, on a connection of its own."""

import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from types import TracebackType
from typing import Self

from workflow.errors import BackendNotOpen
from workflow.protocols import Holding, Lease, Member, RoleScheduler

from ..kit.identity import this_process
from ..kit.lease_keeper import LeaseKeeper
from .lane import Lane
from .leases import PostgresLeaseStore, read_holdings, read_members
from .signals import Signals

__all__ = ["PostgresRoleScheduler"]

_log = logging.getLogger("workflow.postgres")


class PostgresRoleScheduler(RoleScheduler):
    """Leases in one table, spread over the processes that want them.

    Args:
        lane: one connection, so that nothing else keeps a heartbeat waiting.
        signals: wakes the schedulers of other processes.
        schema: where the tables are.
        lease_time: after which a process that died is replaced.
        release: of the user's program; None to take it from the environment.
    """

    def __init__(
        self, lane: Lane, signals: Signals, *, schema: str, lease_time: timedelta, release: str | None = None
    ) -> None:
        self._lane, self._signals, self._schema = lane, signals, schema
        self._lease_time, self._release = lease_time, release
        self._keeper: LeaseKeeper | None = None

    async def __aenter__(self) -> Self:
        process = this_process(self._release)
        keeper = LeaseKeeper(
            PostgresLeaseStore(self._lane, self._schema, process, self._lease_time),
            process=process.id,
            lease_time=self._lease_time.total_seconds(),
            tell_others=lambda: self._signals.send("roles"),
            log=_log,
        )
        self._signals.on("roles", lambda _: keeper.wake())
        self._keeper = await keeper.__aenter__()
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
            raise BackendNotOpen("the Postgres backend is not open: use `async with` on it")
        return self._keeper.hold(role, group)

    async def members(self) -> Sequence[Member]:
        """The live processes, by id."""
        return await read_members(self._lane, self._schema)

    async def holdings(self) -> Sequence[Holding]:
        """Every role that was held within the last day, by role."""
        return await read_holdings(self._lane, self._schema)
