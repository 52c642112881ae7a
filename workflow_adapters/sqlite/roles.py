"""Roles as lease rows, renewed by one heartbeat per process.

The machine's clock judges leases: all processes of a file are on one machine. A lease that claims to last longer than
the lease time is void (the clock was set back). Which process should have which role says `_placement`; a role that
its proper process does not take within half the lease time may be taken by any.
"""

import asyncio
import json
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from workflow.errors import Unavailable, WorkflowError
from workflow.protocols import Lease, RoleScheduler

from .._placement import place, surplus
from .database import Database

ESTABLISHED = 2
"""Heartbeats after which a process counts as a member that others hand roles to."""


class SQLiteLease(Lease):
    """A role held by this process."""

    def __init__(self, token: int, unclean: bool) -> None:
        self.token, self.unclean = token, unclean
        self.lost = asyncio.Event()


@dataclass(slots=True)
class _Want:
    """A role this process waits for or holds."""

    role: str
    group: str
    granted: "asyncio.Future[SQLiteLease]"
    lease: SQLiteLease | None = None
    free_since: float | None = None


@dataclass(slots=True)
class _Beat:
    """What one heartbeat found out."""

    granted: list[tuple[str, int, bool]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    give_up: list[str] = field(default_factory=list)
    free: set[str] = field(default_factory=set)


class SQLiteRoleScheduler(RoleScheduler):
    """The roles of a file."""

    def __init__(self, database: Database, lease_time: timedelta) -> None:
        self._database = database
        self._lease_time = lease_time.total_seconds()
        self._member = uuid.uuid4().hex
        self._wants: dict[str, _Want] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._renewed = 0.0

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Event()
        self._renewed = time.monotonic()
        self._task = asyncio.get_running_loop().create_task(self._beat_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._database.write(lambda c: _leave(c, self._member), wakes=[("roles", "")])
        except WorkflowError:
            # The leases run out by themselves.
            return

    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        """Wait for the role and hold it."""
        return self._hold(role, group or role)

    @asynccontextmanager
    async def _hold(self, role: str, group: str) -> AsyncIterator[Lease]:
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

    async def _release(self, want: _Want) -> None:
        # Shielded by being a task of its own: the row must be freed also when the holder is being cancelled.
        release = asyncio.ensure_future(self._free(want))
        try:
            await asyncio.shield(release)
        except asyncio.CancelledError:
            await asyncio.wait([release])
            raise

    async def _free(self, want: _Want) -> None:
        try:
            if self._wants.get(want.role) is want:
                del self._wants[want.role]
            groups = sorted({other.group for other in self._wants.values()})
            await self._database.write(lambda c: _free(c, want.role, self._member, groups), wakes=[("roles", "")])
        except WorkflowError:
            # The lease runs out by itself.
            pass
        finally:
            for turn in self._waiting.get(want.role, []):
                if not turn.done():
                    turn.set_result(None)

    async def _beat_forever(self) -> None:
        seen = self._database.signals.signal("roles").count
        while True:
            self._changed.clear()
            if self._wants:
                await self._beat()
            seen = await self._pause(seen)

    async def _pause(self, seen: int) -> int:
        """Until the next heartbeat; earlier when a role was released, or is wanted here."""
        signal = self._database.signals.signal("roles")
        waits = [
            asyncio.ensure_future(signal.wait_beyond(seen)),
            asyncio.ensure_future(self._changed.wait()),
        ]
        try:
            timeout = self._lease_time / 3 if self._wants else None
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return signal.count

    async def _beat(self) -> None:
        began = time.monotonic()
        wants = dict(self._wants)
        try:
            beat = await self._database.write(lambda c: self._work(c, wants))
        except Unavailable:
            if time.monotonic() - self._renewed > self._lease_time:
                self._lose([role for role, want in wants.items() if want.lease is not None])
            return
        self._renewed = began
        self._lose(beat.lost + beat.give_up)
        for role, token, unclean in beat.granted:
            await self._grant(role, wants[role], SQLiteLease(token, unclean))
        for role, want in wants.items():
            if role not in beat.free:
                want.free_since = None
            elif want.free_since is None:
                want.free_since = began

    async def _grant(self, role: str, want: _Want, lease: SQLiteLease) -> None:
        if want.granted.done():
            # Its waiter was cancelled meanwhile.
            await self._free(want)
            return
        want.lease = lease
        want.granted.set_result(lease)

    def _lose(self, roles: list[str]) -> None:
        for role in roles:
            want = self._wants.get(role)
            if want is not None and want.lease is not None:
                want.lease.lost.set()

    def _work(self, connection: sqlite3.Connection, wants: dict[str, _Want]) -> _Beat:
        """One heartbeat, in one transaction: announce, renew, see what belongs elsewhere, take what is ours."""
        now = time.time_ns() // 1000
        lease = int(self._lease_time * 1e6)
        groups = sorted({want.group for want in wants.values()})
        _announce(connection, self._member, groups, now, lease)
        members = _members(connection, now)
        wanted = {m: set(g) for m, (beats, g) in members.items() if m == self._member or beats >= ESTABLISHED}
        placed = place(wanted)
        held = {role: (holder, token, expires) for role, holder, token, expires in connection.execute(ROLES)}
        beat = _Beat()
        for role, want in wants.items():
            holder, token, expires = held.get(role, ("", 0, 0))
            free = not holder or expires <= now or expires > now + lease
            if want.lease is not None:
                if holder != self._member:
                    beat.lost.append(role)
                    continue
                connection.execute(RENEW, (now + lease, role, self._member))
            elif free:
                beat.free.add(role)
                waited = 0.0 if want.free_since is None else time.monotonic() - want.free_since
                if placed.get(want.group) == self._member or waited > self._lease_time / 2:
                    connection.execute(TAKE, (role, self._member, token + 1, now + lease))
                    beat.granted.append((role, token + 1, bool(holder) and holder != self._member))
        # One group at a time, all its roles together.
        leaving = surplus(self._member, {want.group for want in wants.values() if want.lease is not None}, wanted)
        beat.give_up = [r for r, w in wants.items() if w.lease is not None and w.group == leaving]
        return beat


ROLES = "select role, holder, token, expires from roles"
RENEW = "update roles set expires = ? where role = ? and holder = ?"
TAKE = """
insert into roles (role, holder, token, expires) values (?, ?, ?, ?)
on conflict do update set holder = excluded.holder, token = excluded.token, expires = excluded.expires
"""
ANNOUNCE = """
insert into members (member, beats, expires, groups) values (?, 1, ?, ?)
on conflict do update set beats = beats + 1, expires = excluded.expires, groups = excluded.groups
"""


def _announce(connection: sqlite3.Connection, member: str, groups: list[str], now: int, lease: int) -> None:
    connection.execute("delete from members where expires <= ? or expires > ?", (now, now + lease))
    connection.execute(ANNOUNCE, (member, now + lease, json.dumps(groups)))


def _members(connection: sqlite3.Connection, now: int) -> dict[str, tuple[int, list[str]]]:
    rows = connection.execute("select member, beats, groups from members where expires > ?", (now,))
    return {member: (beats, json.loads(groups)) for member, beats, groups in rows}


def _free(connection: sqlite3.Connection, role: str, member: str, groups: list[str]) -> None:
    """Give a role back, and say which groups are still wanted, so that nothing waits for who has left."""
    connection.execute("update roles set holder = '', expires = 0 where role = ? and holder = ?", (role, member))
    if groups:
        connection.execute("update members set groups = ? where member = ?", (json.dumps(groups), member))
    else:
        connection.execute("delete from members where member = ?", (member,))


def _leave(connection: sqlite3.Connection, member: str) -> None:
    connection.execute("update roles set holder = '', expires = 0 where holder = ?", (member,))
    connection.execute("delete from members where member = ?", (member,))
