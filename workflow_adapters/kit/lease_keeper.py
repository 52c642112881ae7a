"""The process's heartbeat: one loop that renews, takes, hands over and releases all its roles.

How a role travels. A task that wants a role waits in `hold`. The next heartbeat tells the store that this process
wants it, and returns a picture of all processes and leases. If the role is free and `place` says that it belongs here,
the same heartbeat takes it. If it belongs to another live process it is left to that process, but not for ever: after
half a lease time any process may take it. A holder that has too many hands over one unit at a time, by setting `lost`
on its leases; it still holds them until their tasks have left `hold`.

Releases that cut a work into different numbers of shards agree on one number (`shards`). A role that excludes one that
is held is not free; roles of the number that was outvoted are left alone, and handed over all at once.

A holder trusts its lease from the moment before the renewal was sent, by its own monotonic clock and with a margin, so
that it gives up before the store lets another process take over. Safety does not depend on any of this.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import Self

from workflow.errors import BackendNotOpen
from workflow.protocols import Lease

from .leases import Beat, Choose, LeaseStore, LiveProcess, Picture, TakenRole
from .placement import place
from .shards import HeldShards, cut_of, outvoted
from .text import described

__all__ = ["BEATS_PER_LEASE", "LeaseKeeper"]

BEATS_PER_LEASE = 3
_ESTABLISHED = 2
"""Heartbeats for which a process must have lived before others hand roles to it."""
_MARGIN = 0.2
"""Share of the lease time by which a holder gives up early: its clock and the store's may run apart."""
_PATIENCE = 0.5
"""Share of the lease time for which a free role is left to the process that should have it."""
_IDLE = 5
"""Lease times for which nothing is handed over to a process that let a free role of its own lie."""
_SHORTEST_PAUSE = 0.02
"""Seconds between two heartbeats at least, unless something happens."""
_RETRY = 0.1
"""Share of the lease time after which a failed heartbeat is repeated."""


class _KeptLease(Lease):
    """A role that this process holds."""

    def __init__(self, role: str, group: str, token: int, *, unclean: bool) -> None:
        self.role, self.group, self.token, self.unclean = role, group, token, unclean
        self.lost = asyncio.Event()
        self.trusted_until = 0.0


class _Waiter:
    def __init__(self, role: str, group: str) -> None:
        self.role, self.group = role, group
        self.given: asyncio.Future[_KeptLease] = asyncio.get_running_loop().create_future()


class LeaseKeeper:
    """Keeps the roles of one process. An async context manager, to be entered once.

    Args:
        store: where the leases are.
        process: the name of this process there.
        lease_time: seconds for which a heartbeat counts.
        tell_others: wakes the keepers of other processes: a role may be free. They call `wake`.
        log: gets the warnings.
    """

    def __init__(
        self,
        store: LeaseStore,
        *,
        process: str,
        lease_time: float,
        tell_others: Callable[[], None],
        log: logging.Logger,
    ) -> None:
        self._store, self._me, self._lease_time = store, process, lease_time
        self._tell_others, self._log = tell_others, log
        self._waiting: dict[str, deque[_Waiter]] = {}
        self._held: dict[str, _KeptLease] = {}
        self._leaving: dict[_KeptLease, asyncio.Future[None]] = {}
        self._inside: set[str] = set()
        self._free_since: dict[str, float] = {}
        self._idle_until: dict[str, float] = {}
        self._told: Mapping[str, str] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._tend())
        return self

    async def __aexit__(self, *_: object) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._expiry is not None:
            self._expiry.cancel()
        waiting, self._waiting = self._waiting, {}
        for waiter in [one for queue in waiting.values() for one in queue]:
            if not waiter.given.done():
                waiter.given.set_exception(BackendNotOpen("the backend was left while a task waited for a role"))
        for lease in list(self._held.values()):
            self._drop(lease)
        try:
            await self._store.leave()
        except Exception as error:  # noqa: BLE001 - leaving goes on; the leases run out
            self._log.warning("roles are not released, they run out instead: %s", described(error))
        # A process that looked before this one had left may have kept shares for it.
        self._tell_others()

    def wake(self) -> None:
        """Another process says that a role may be free."""
        if self._waiting:
            self._wake.set()

    @asynccontextmanager
    async def hold(self, role: str, group: str) -> AsyncIterator[Lease]:
        """Wait for the role and hold it inside the context.

        Raises:
            BackendNotOpen: the keeper is not entered, or was left meanwhile.
        """
        if self._task is None or self._task.done():
            raise BackendNotOpen("the role scheduler is not open: use `async with` on the backend")
        waiter = _Waiter(role, group)
        self._waiting.setdefault(role, deque()).append(waiter)
        self._wake.set()
        try:
            lease = await waiter.given
        except asyncio.CancelledError:
            self._forget(waiter)
            if waiter.given.done() and not waiter.given.cancelled() and waiter.given.exception() is None:
                self._give_up(waiter.given.result())
            raise
        try:
            yield lease
        finally:
            await asyncio.shield(self._give_up(lease))

    def _forget(self, waiter: _Waiter) -> None:
        queue = self._waiting.get(waiter.role)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._waiting[waiter.role]
        self._wake.set()

    def _give_up(self, lease: _KeptLease) -> "asyncio.Future[None]":
        """Have the lease released soon; the result is set when it is, or cannot be."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inside.discard(lease.role)
        self._wake.set()
        if self._held.get(lease.role) is not lease or self._task is None or self._task.done():
            done.set_result(None)
        else:
            self._leaving[lease] = done
        return done

    def _wants(self) -> dict[str, str]:
        """Every role that this process holds or waits for, and its group; not those that it is about to release.

        Of a group that it hands over it wants nothing until it is through: otherwise the group would be shared out
        role by role.
        """
        wants = {
            role: lease.group
            for role, lease in self._held.items()
            if lease not in self._leaving and not lease.lost.is_set()
        }
        handed_over = {lease.group for lease in self._held.values() if lease.group and lease.lost.is_set()}
        wants.update(
            (role, queue[0].group)
            for role, queue in self._waiting.items()
            if role not in self._inside and queue[0].group not in handed_over
        )
        return wants

    async def _tend(self) -> None:
        pause = self._lease_time
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
                    await asyncio.sleep(0)  # other wishes and releases of this turn of the loop come along
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                pause = await self._round()
            except Exception as error:  # noqa: BLE001 - reported; no other task would start this loop again
                self._log.warning("roles cannot be renewed: %s", described(error))
                # The store cannot be told of releases: no task waits for that, the leases run out.
                for lease in list(self._leaving):
                    self._drop(lease)
                pause = self._lease_time * _RETRY

    async def _round(self) -> float:
        """Release, then beat; the seconds until the next round."""
        if self._leaving:
            await self._release()
        if not (self._waiting or self._held or self._told):
            return self._lease_time
        return await self._beat()

    async def _release(self) -> None:
        leaving = dict(self._leaving)
        await self._store.release({lease.role: lease.token for lease in leaving}, self._wants())
        for lease in leaving:
            self._drop(lease)
        self._tell_others()

    def _drop(self, lease: _KeptLease) -> None:
        """This process holds the lease no more."""
        if self._held.get(lease.role) is lease:
            del self._held[lease.role]
        lease.lost.set()
        left = self._leaving.pop(lease, None)
        if left is not None and not left.done():
            left.set_result(None)

    async def _beat(self) -> float:
        began = asyncio.get_running_loop().time()
        wants = self._wants()
        held = {role: lease.token for role, lease in self._held.items()}
        beat = await self._store.beat(wants, held, self._chooser(wants, began))
        picture = self._knowing(beat.picture, wants)
        self._note(beat, picture, wants, began)
        if wants != self._told and any(role not in picture.roles for role in self._waiting):
            # The process that should take it may have looked before it knew of this process or its wishes.
            self._tell_others()
        self._told = wants
        self._hand_over(picture, began)
        return self._pause(picture)

    def _knowing(self, picture: Picture, wants: Mapping[str, str]) -> Picture:
        """The picture with what this process has just said that it wants."""
        known = picture.processes.get(self._me)
        mine = LiveProcess(wants, known.age if known is not None else 0.0)
        return picture._replace(processes={**picture.processes, self._me: mine})

    def _chooser(self, wants: Mapping[str, str], now: float) -> Choose:
        """Chooses the free roles that are this process's own, or were left to others for long enough.

        It is a function of values that no other task changes, because a store may call it in a thread.
        """
        waiting = [role for role in self._waiting if role in wants and role not in self._held]
        patient_until = {role: since + self._lease_time * _PATIENCE for role, since in self._free_since.items()}

        def choose(picture: Picture) -> list[str]:
            held = HeldShards(picture.roles)
            free = [role for role in waiting if self._is_free(picture, held, role, wants[role])]
            if not free:
                return []
            known = self._knowing(picture, wants)
            places, others = self._places(known), self._outvoted(known)
            chosen = []
            for role in free:
                proper = places[role] == self._me and role not in others
                # Of this process's own roles one may exclude another.
                excluded = held.against(cut_of(role, wants[role]))
                if not excluded and (proper or patient_until.get(role, math.inf) <= now):
                    chosen.append(role)
                    held.add(role)
            return chosen

        return choose

    def _is_free(self, picture: Picture, shards: HeldShards, role: str, group: str) -> bool:
        """True if no other process holds it, and nothing that excludes it is held.

        A lease of this process that it has dropped is its own to take.
        """
        held = picture.roles.get(role)
        return (held is None or held.holder == self._me) and not shards.against(cut_of(role, group))

    def _outvoted(self, picture: Picture, among: Collection[str] | None = None) -> AbstractSet[str]:
        """The roles that are cut otherwise than all live processes, or these, have agreed on."""
        wanted = {name: process.roles for name, process in picture.processes.items() if among is None or name in among}
        return outvoted(wanted, picture.roles)

    def _places(self, picture: Picture, among: Collection[str] | None = None) -> Mapping[str, str]:
        """The process that should hold each role, of all live ones or only of these."""
        wanted = {name: process.roles for name, process in picture.processes.items() if among is None or name in among}
        holders = {role: held.holder for role, held in picture.roles.items() if role in wanted.get(held.holder, {})}
        return place(wanted, holders)

    def _note(self, beat: Beat, picture: Picture, wants: Mapping[str, str], began: float) -> None:
        """Take in what the heartbeat found: what was renewed, lost and taken, and what is free but left to others."""
        until = began + self._lease_time * (1 - _MARGIN)
        for role, lease in list(self._held.items()):
            if beat.renewed.get(role) == lease.token:
                lease.trusted_until = until
            else:
                self._drop(lease)
        places = self._places(picture) if beat.taken else {}
        for taken in beat.taken:
            if (proper := places.get(taken.role, self._me)) != self._me:
                self._idle_until[proper] = began + self._lease_time * _IDLE
            self._take(taken, until)
        self._watch()
        shards = HeldShards((*picture.roles, *self._held))
        free = [
            role
            for role, group in wants.items()
            if role in self._waiting and role not in self._held and self._is_free(picture, shards, role, group)
        ]
        self._free_since = {role: self._free_since.get(role, began) for role in free}

    def _take(self, taken: TakenRole, trusted_until: float) -> None:
        queue = self._waiting.get(taken.role)
        waiter = queue[0] if queue else None
        lease = _KeptLease(taken.role, waiter.group if waiter else "", taken.token, unclean=taken.unclean)
        lease.trusted_until = trusted_until
        self._held[taken.role] = lease
        if waiter is None or waiter.given.done():
            self._give_up(lease)  # its waiter was cancelled meanwhile
        else:
            self._forget(waiter)
            self._inside.add(taken.role)
            waiter.given.set_result(lease)

    def _watch(self) -> None:
        """Give up in time the leases that are not renewed in time, also while the store does not answer."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._held:
            first = min(lease.trusted_until for lease in self._held.values())
            self._expiry = asyncio.get_running_loop().call_at(first, self._expire)

    def _expire(self) -> None:
        now = asyncio.get_running_loop().time()
        expired = [lease for lease in self._held.values() if lease.trusted_until <= now]
        if expired:
            self._log.warning("%d roles are given up: their leases could not be renewed in time", len(expired))
        for lease in expired:
            self._drop(lease)
        self._watch()

    def _hand_over(self, picture: Picture, now: float) -> None:
        """Begin to hand over one unit that another process should have; the next once that process has taken it."""
        if self._free_since or any(lease.lost.is_set() for lease in self._held.values()):
            return
        self._idle_until = {name: until for name, until in self._idle_until.items() if until > now}
        established = self._lease_time * _ESTABLISHED / BEATS_PER_LEASE
        ready = {
            name
            for name, process in picture.processes.items()
            # A negative age comes from a clock that was set back.
            if name not in self._idle_until and not 0 <= process.age < established
        }
        places, others = self._places(picture, ready | {self._me}), self._outvoted(picture, ready | {self._me})
        if given_up := [lease for role, lease in self._held.items() if role in others]:
            for lease in given_up:
                lease.lost.set()
            return
        for role, lease in sorted(self._held.items()):
            target = places.get(role, self._me)
            if target == self._me:
                continue
            for other, unit in self._held.items():
                together = other == role or (lease.group and unit.group == lease.group)
                if together and places.get(other, self._me) == target:
                    unit.lost.set()
            return

    def _pause(self, picture: Picture) -> float:
        """The seconds until the next heartbeat: earlier if a role that is waited for can be had earlier."""
        now = asyncio.get_running_loop().time()
        pauses = [self._lease_time / BEATS_PER_LEASE]
        shards = HeldShards(picture.roles)
        for role, queue in self._waiting.items():
            held = picture.roles.get(role)
            excluding = shards.against(cut_of(role, queue[0].group))
            pauses.extend(picture.roles[other].left + _SHORTEST_PAUSE for other in excluding)
            if held is not None and held.holder != self._me:
                pauses.append(held.left + _SHORTEST_PAUSE)
            elif role in self._free_since:
                pauses.append(self._free_since[role] + self._lease_time * _PATIENCE - now)
        return max(_SHORTEST_PAUSE, min(pauses))
