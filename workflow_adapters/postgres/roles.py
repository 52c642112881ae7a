"""The role scheduler: one loop a process that renews, takes, hands over and releases, on a connection of its own.

A holder trusts its lease from the moment before the renewal was sent, by its own monotonic clock and with a margin, so
that it gives up before the server lets anybody else take over. Safety does not depend on any of this.
"""

import asyncio
import logging
import os
import socket
import uuid
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Self

import asyncpg

from workflow.errors import BackendNotOpen, OutcomeUnknown, Unavailable
from workflow.protocols import Lease, RoleScheduler

from .connections import Connection, Lane
from .failures import described
from .leases import Leases, Picture
from .placement import placed
from .signals import Signals

__all__ = ["PostgresRoleScheduler"]

_BEATS_PER_LEASE = 3
_MARGIN = 0.2
"""Share of the lease time by which a holder gives up early: its clock and the server's may run apart."""
_SHORTEST_WAIT = 0.02

_log = logging.getLogger("workflow.postgres")


class PostgresLease(Lease):
    """A role that this process holds."""

    def __init__(self, role: str, group: str, token: int, *, unclean: bool) -> None:
        self.role, self.group, self.token, self.unclean = role, group, token, unclean
        self.lost = asyncio.Event()
        self.until = 0.0


class _Waiter:
    def __init__(self, role: str, group: str) -> None:
        self.role, self.group = role, group
        self.given: asyncio.Future[PostgresLease] = asyncio.get_running_loop().create_future()


class PostgresRoleScheduler(RoleScheduler):
    """Leases in one table, spread over the processes that want them."""

    def __init__(self, lane: Lane, signals: Signals, *, schema: str, lease_time: timedelta) -> None:
        self.process = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._leases = Leases(lane, schema, self.process, lease_time)
        self._lane, self._signals = lane, signals
        self._lease_time = lease_time.total_seconds()
        self._waiting: dict[str, deque[_Waiter]] = {}
        self._held: dict[str, PostgresLease] = {}
        self._leaving: dict[PostgresLease, asyncio.Future[None]] = {}
        self._told: Mapping[str, str] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._signals.on("roles", lambda _: self._wake.set() if self._waiting else None)
        self._tasks = [asyncio.create_task(self._tend()), asyncio.create_task(self._watch())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._turn_away()
        for lease in self._held.values():
            self._leaving.setdefault(lease, asyncio.get_running_loop().create_future())
        try:
            await self._release()
            await self._leases.leave()
            # Who looked before this process had left may have kept its shares for it.
            self._signals.send("roles")
        except (Unavailable, OutcomeUnknown, asyncpg.PostgresError) as error_:
            _log.warning("roles are not released, they run out instead: %s", described(error_))

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        """Wait for the role and hold it; see the port."""
        if not self._tasks or self._tasks[0].done():
            raise BackendNotOpen("the Postgres backend is not open: use `async with` on it")
        waiter = _Waiter(role, group)
        self._waiting.setdefault(role, deque()).append(waiter)
        self._wake.set()
        try:
            lease = await waiter.given
        except asyncio.CancelledError:
            self._forget(waiter)
            if waiter.given.done() and not waiter.given.cancelled():
                self._give_up(waiter.given.result())
            raise
        try:
            yield lease
        finally:
            await asyncio.shield(self._give_up(lease))

    def _turn_away(self) -> None:
        """Whoever still waits would wait for ever."""
        waiting, self._waiting = self._waiting, {}
        for waiter in [one for queue in waiting.values() for one in queue]:
            if not waiter.given.done():
                waiter.given.set_exception(BackendNotOpen("the Postgres backend was left"))

    def _forget(self, waiter: _Waiter) -> None:
        queue = self._waiting.get(waiter.role)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._waiting[waiter.role]
        self._wake.set()

    def _give_up(self, lease: PostgresLease) -> "asyncio.Future[None]":
        """Have the lease released soon; the result is set when it is, or cannot be."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lease.lost.set()
        if self._held.get(lease.role) is not lease or not self._tasks or self._tasks[0].done():
            done.set_result(None)
            return done
        self._leaving[lease] = done
        self._wake.set()
        return done

    def _wants(self) -> dict[str, str]:
        """Every role that this process holds or waits for, and its group."""
        # Of a group that it has begun to leave it wants nothing: else the others would share it role by role.
        left = {lease.group for lease in self._leaving if lease.group}
        wants = {
            role: lease.group
            for role, lease in self._held.items()
            if lease not in self._leaving and lease.group not in left
        }
        wants.update((role, queue[0].group) for role, queue in self._waiting.items())
        return wants

    async def _tend(self) -> None:
        pause = self._lease_time
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
                    await asyncio.sleep(0)  # whoever else wants or leaves a role in this turn comes along
            except TimeoutError:
                pass
            self._wake.clear()
            if not (self._waiting or self._held or self._told):
                pause = self._lease_time
                continue
            try:
                pause = await self._beat()
            except Exception as error:  # noqa: BLE001 - nobody else would start this loop again
                _log.warning("roles cannot be renewed: %s", described(error))
                self._leave_behind()
                pause = self._lease_time / 10

    async def _beat(self) -> float:
        """One round; the seconds until the next."""
        if self._leaving:
            await self._release()
        if not (self._waiting or self._held or self._told):
            return self._lease_time
        began = asyncio.get_running_loop().time()
        wants = self._wants()
        # The statement sees the row of this process as it was before.
        picture = (await self._leases.beat(wants, self._held)).knowing(self.process, wants)
        self._renewed(picture, began)
        if self._share(picture):
            picture = await self._acquire()
        if wants != self._told and any(role not in picture.leases for role in self._waiting):
            # Whoever should take it may have looked before it knew what this process wants, or that it is there.
            self._signals.send("roles")
        self._told = wants
        self._hand_over(picture)
        beat = self._lease_time / _BEATS_PER_LEASE
        # A role that waits here is free for sure when its lease runs out; no need to find that out late.
        ends = [lease.left for role, lease in picture.leases.items() if role in self._waiting]
        return max(_SHORTEST_WAIT, min([beat, *(left + _SHORTEST_WAIT for left in ends)]))

    def _renewed(self, picture: Picture, began: float) -> None:
        for role, lease in list(self._held.items()):
            if picture.renewed.get(role) == lease.token:
                lease.until = began + self._lease_time * (1 - _MARGIN)
            else:
                self._lose(lease)

    def _lose(self, lease: PostgresLease) -> None:
        del self._held[lease.role]
        lease.lost.set()
        left = self._leaving.pop(lease, None)
        if left is not None and not left.done():
            left.set_result(None)

    async def _watch(self) -> None:
        """Give up what could not be renewed in time, whatever the connection is doing."""
        while True:
            now = asyncio.get_running_loop().time()
            for lease in list(self._held.values()):
                if lease.until <= now:
                    _log.warning("role %s is given up: its lease could not be renewed in time", lease.role)
                    self._lose(lease)
            ends = [lease.until for lease in self._held.values()]
            await asyncio.sleep(max(_SHORTEST_WAIT, min([self._lease_time / 10, *(end - now for end in ends)])))

    def _placed(self, picture: Picture, *, settled: bool) -> Mapping[str, str]:
        """The process that should have each group; a role without one is a group of its own."""
        old_enough = 2 * self._lease_time / _BEATS_PER_LEASE if settled else 0.0
        wanted = {
            process: {group or f"\0{role}" for role, group in member.roles.items()}
            for process, member in picture.members.items()
            if member.age >= old_enough or process == self.process
        }
        held: dict[str, str] = {}
        for role, lease in sorted(picture.leases.items()):
            member = picture.members.get(lease.holder)
            if member is not None and role in member.roles:
                held.setdefault(member.roles[role] or f"\0{role}", lease.holder)
        return placed(wanted, held)

    def _share(self, picture: Picture) -> list[str]:
        """The free roles that this process waits for and should have."""
        places = self._placed(picture, settled=False)
        share = []
        for role, queue in self._waiting.items():
            if role in picture.leases or role in self._held:
                continue
            group = queue[0].group
            other = picture.members.get(places.get(group or f"\0{role}", self.process))
            if places.get(group or f"\0{role}") == self.process or other is None or role not in other.roles:
                share.append(role)
        return share

    async def _acquire(self) -> Picture:
        async def work(connection: Connection) -> "tuple[Picture, float, list[asyncpg.Record]]":
            await self._leases.lock(connection)
            began = asyncio.get_running_loop().time()
            picture = await self._leases.look(connection)
            share = self._share(picture)
            return picture, began, list(await self._leases.acquire(connection, share)) if share else []

        picture, began, rows = await self._lane.transaction(work)
        for role, token, unclean in rows:
            queue = self._waiting.get(role)
            waiter = queue[0] if queue else None
            lease = PostgresLease(role, waiter.group if waiter else "", token, unclean=unclean)
            lease.until = began + self._lease_time * (1 - _MARGIN)
            self._held[role] = lease
            if waiter is None or waiter.given.done():
                self._give_up(lease)  # whoever wanted it has gone meanwhile
            else:
                self._forget(waiter)
                waiter.given.set_result(lease)
        return picture

    def _hand_over(self, picture: Picture) -> None:
        """Ask for one group that another process should have; never more at once."""
        places = self._placed(picture, settled=True)
        for lease in self._held.values():
            if lease.group and places.get(lease.group, self.process) != self.process:
                if not any(other.lost.is_set() for other in self._held.values()):
                    for other in self._held.values():
                        if other.group == lease.group:
                            other.lost.set()
                return

    async def _release(self) -> None:
        leaving = dict(self._leaving)
        await self._leases.release({lease.role: lease.token for lease in leaving}, self._wants())
        for lease, done in leaving.items():
            self._leaving.pop(lease, None)
            if self._held.get(lease.role) is lease:
                del self._held[lease.role]
            if not done.done():
                done.set_result(None)
        self._signals.send("roles")

    def _leave_behind(self) -> None:
        """The server cannot be told: nobody waits for that, the leases run out."""
        for lease in list(self._leaving):
            if self._held.get(lease.role) is lease:
                self._lose(lease)
