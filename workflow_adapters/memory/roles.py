"""Roles as locks within one process."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from workflow.protocols import Holding, Lease, Member, RoleScheduler

from ..kit.identity import this_process
from ..kit.shards import Cut, HeldShards, cut_of
from ..kit.signal import wake

_ALIVE = timedelta(minutes=1)
"""How long the process claims to live on: as long as anybody can ask."""


class MemoryLease(Lease):
    """A role held in this process."""

    def __init__(self, token: int, unclean: bool) -> None:
        self.token, self.unclean = token, unclean
        self.lost = asyncio.Event()


class _Waiter(NamedTuple):
    role: str
    cut: Cut | None
    turn: "asyncio.Future[None]"


class MemoryRoleScheduler(RoleScheduler):
    """Roles as locks, handed over in the order of asking. A holder that dies takes the process with it."""

    def __init__(self, release: str | None = None) -> None:
        self._identity = this_process(release)
        self._held: set[str] = set()
        self._tokens: dict[str, int] = {}
        # By work: what excludes each other waits in one queue.
        self._waiting: dict[str, deque[_Waiter]] = {}

    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        """Wait for the role and hold it."""
        return self._hold(role, cut_of(role, group))

    @asynccontextmanager
    async def _hold(self, role: str, cut: Cut | None) -> AsyncIterator[Lease]:
        if self._is_free(role, cut):
            self._held.add(role)
        else:
            await self._turn(role, cut)
        self._tokens[role] = self._tokens.get(role, 0) + 1
        try:
            yield MemoryLease(self._tokens[role], unclean=False)
        finally:
            self._pass_on(role, cut)

    def _is_free(self, role: str, cut: Cut | None) -> bool:
        return role not in self._held and (cut is None or not HeldShards(self._held).against(cut))

    async def _turn(self, role: str, cut: Cut | None) -> None:
        """Wait until the role is handed over. It is held from then on, so that nobody comes first."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(_work(role, cut), deque())
        waiter = _Waiter(role, cut, turn)
        queue.append(waiter)
        try:
            await turn
        except asyncio.CancelledError:
            if waiter in queue:
                queue.remove(waiter)
                self._tidy(_work(role, cut))
            else:
                # It was handed over and is not wanted any more.
                self._pass_on(role, cut)
            raise

    def _pass_on(self, role: str, cut: Cut | None) -> None:
        self._held.discard(role)
        work = _work(role, cut)
        queue = self._waiting.get(work, deque())
        for waiter in tuple(queue):
            if waiter.turn.get_loop().is_closed():
                queue.remove(waiter)
            elif not waiter.turn.done() and self._is_free(waiter.role, waiter.cut):
                queue.remove(waiter)
                self._held.add(waiter.role)
                wake(waiter.turn)
        self._tidy(work)

    def _tidy(self, work: str) -> None:
        if not self._waiting.get(work, True):
            del self._waiting[work]

    async def members(self) -> Sequence[Member]:
        """This process."""
        now = datetime.now(UTC)
        waiting = {waiter.role for queue in self._waiting.values() for waiter in queue}
        wanted = tuple(sorted(self._held | waiting))
        return [Member(identity=self._identity, wanted=wanted, renewed_at=now, expires_at=now + _ALIVE)]

    async def holdings(self) -> Sequence[Holding]:
        """Every role that was ever held."""
        expires_at = datetime.now(UTC) + _ALIVE
        return [
            Holding(
                role=role,
                process=self._identity.id,
                token=token,
                expires_at=expires_at if role in self._held else None,
            )
            for role, token in sorted(self._tokens.items())
        ]


def _work(role: str, cut: Cut | None) -> str:
    return role if cut is None else cut.work
