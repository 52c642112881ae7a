"""Roles as lease rows, renewed by one heartbeat per process.

Which process should have which role says `_placement`; a role that its proper process does not take within half the
lease time may be taken by any. A holder trusts its lease from the moment before the heartbeat that renewed it, with a
margin, so that it gives up before anybody else may take over. Safety does not depend on any of this.
"""

import asyncio
import logging
import os
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from workflow.errors import BackendNotOpen, WorkflowError
from workflow.protocols import Lease, RoleScheduler

from .database import Database
from .leases import BEATS_PER_LEASE, Asked, Beat, Leases

MARGIN = 0.1
"""Share of the lease time by which a holder gives up early."""
GRAIN = 0.01
"""Seconds between what is awaited and the heartbeat that looks for it."""

_log = logging.getLogger("workflow.sqlite")


class SQLiteLease(Lease):
    """A role held by this process."""

    def __init__(self, token: int, unclean: bool) -> None:
        self.token, self.unclean = token, unclean
        self.lost = asyncio.Event()


@dataclass(slots=True, eq=False)
class _Want:
    """A role this process waits for or holds."""

    role: str
    group: str
    granted: "asyncio.Future[SQLiteLease]"
    lease: SQLiteLease | None = None
    free_since: float | None = None


class SQLiteRoleScheduler(RoleScheduler):
    """The roles of a file."""

    def __init__(self, database: Database, lease_time: timedelta) -> None:
        self._database = database
        self._lease_time = lease_time.total_seconds()
        self._leases = Leases(f"{os.getpid()}:{uuid.uuid4().hex}", self._lease_time)
        self._wants: dict[str, _Want] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._beat_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._expiry is not None:
            self._expiry.cancel()
        for want in self._wants.values():
            if not want.granted.done():
                # Whoever still waits would wait for ever.
                want.granted.set_exception(BackendNotOpen("the backend was left"))
        try:
            await self._database.write(self._leases.leave, wakes=[("roles", "")])
        except WorkflowError as error:
            _log.warning("roles are not released, they run out instead: %s", error)

    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        """Wait for the role and hold it."""
        return self._hold(role, group or role)

    @asynccontextmanager
    async def _hold(self, role: str, group: str) -> AsyncIterator[Lease]:
        if self._task is None:
            raise BackendNotOpen("the role scheduler is not open: use `async with` on the backend")
        await self._turn(role)
        want = self._wants[role] = _Want(role, group, asyncio.get_running_loop().create_future())
        self._changed.set()
        try:
            yield await want.granted
        finally:
            await self._release(want)

    async def _turn(self, role: str) -> None:
        """Within one process a role is wanted by one holder at a time; others queue here."""
        while role in self._wants:
            waiting = self._waiting.setdefault(role, [])
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting.append(turn)
            try:
                await turn
            finally:
                waiting.remove(turn)
                if not waiting:
                    self._waiting.pop(role, None)

    async def _release(self, want: _Want) -> None:
        # Shielded by being a task of its own: the row must be freed also when the holder is being cancelled.
        release = asyncio.ensure_future(self._free(want))
        try:
            await asyncio.shield(release)
        except asyncio.CancelledError:
            await asyncio.wait([release])
            raise

    async def _free(self, want: _Want) -> None:
        if self._wants.get(want.role) is want:
            del self._wants[want.role]
        groups = sorted({other.group for other in self._wants.values()})

        def free(connection: sqlite3.Connection) -> None:
            self._leases.free(connection, want.role, groups)

        try:
            await self._database.write(free, wakes=[("roles", "")])
        except WorkflowError as error:
            _log.warning("role %s is not released, it runs out instead: %s", want.role, error)
        finally:
            for turn in self._waiting.get(want.role, []):
                if not turn.done():
                    turn.set_result(None)

    async def _beat_forever(self) -> None:
        seen = self._database.signals.signal("roles").count
        while True:
            self._changed.clear()
            pause = self._lease_time / BEATS_PER_LEASE
            if self._wants:
                try:
                    pause = min(pause, await self._beat())
                except Exception as error:  # noqa: BLE001 - reported; without heartbeats the leases run out
                    _log.warning("roles cannot be renewed: %r", error)
            seen = await self._pause(seen, pause if self._wants else None)

    async def _pause(self, seen: int, seconds: float | None) -> int:
        """Until the next heartbeat; earlier when a role was released, or is wanted here."""
        signal = self._database.signals.signal("roles")
        waits = [
            asyncio.ensure_future(signal.wait_beyond(seen)),
            asyncio.ensure_future(self._changed.wait()),
        ]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return signal.count

    async def _beat(self) -> float:
        """One heartbeat; the seconds until something that is waited for may be had."""
        began = time.monotonic()
        wants = dict(self._wants)
        patience = self._lease_time / 2
        asked = [
            Asked(
                want.role,
                want.group,
                held=want.lease is not None,
                patient=want.free_since is None or began - want.free_since < patience,
            )
            for want in wants.values()
        ]
        # Lazily: after a power failure no process of the machine holds anything.
        beat = await self._database.write(lambda c: self._leases.beat(c, asked), lazy=True)
        self._trust_until(began + self._lease_time * (1 - MARGIN))
        self._lose(beat.lost + beat.give_up)
        for role, token, unclean in beat.granted:
            await self._grant(wants[role], SQLiteLease(token, unclean))
        return self._note_free(beat, wants, began, patience)

    def _note_free(self, beat: Beat, wants: dict[str, _Want], now: float, patience: float) -> float:
        waits = [self._lease_time] if beat.again is None else [beat.again + GRAIN]
        for role, want in wants.items():
            if role not in beat.free:
                want.free_since = None
            else:
                want.free_since = want.free_since or now
                waits.append(want.free_since + patience - now + GRAIN)
        return max(GRAIN, min(waits))

    async def _grant(self, want: _Want, lease: SQLiteLease) -> None:
        if want.granted.done():
            # Its waiter was cancelled meanwhile.
            await self._free(want)
            return
        want.lease = lease
        want.granted.set_result(lease)

    def _trust_until(self, moment: float) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        seconds = moment - time.monotonic()
        self._expiry = asyncio.get_running_loop().call_later(max(seconds, 0.0), self._expire)

    def _expire(self) -> None:
        """No heartbeat got through in time: others may take over any moment."""
        held = [role for role, want in self._wants.items() if want.lease is not None and not want.lease.lost.is_set()]
        if held:
            _log.warning("%d roles are given up: their leases could not be renewed in time", len(held))
            self._lose(held)

    def _lose(self, roles: list[str]) -> None:
        for role in roles:
            want = self._wants.get(role)
            if want is not None and want.lease is not None:
                want.lease.lost.set()
