"""Roles as locks within one process."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta

from workflow.protocols import Holding, Lease, Member, RoleScheduler

from ..kit.identity import this_process
from ..kit.signal import wake

_ALIVE = timedelta(minutes=1)
"""How long the process claims to live on: as long as anybody can ask."""


class MemoryLease(Lease):
    """A role held in this process."""

    def __init__(self, token: int, unclean: bool) -> None:
        self.token, self.unclean = token, unclean
        self.lost = asyncio.Event()


class MemoryRoleScheduler(RoleScheduler):
    """Roles as locks, handed over in the order of asking. A holder that dies takes the process with it."""

    def __init__(self, release: str | None = None) -> None:
        self._identity = this_process(release)
        self._held: set[str] = set()
        self._tokens: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        """Wait for the role and hold it."""
        return self._hold(role)

    @asynccontextmanager
    async def _hold(self, role: str) -> AsyncIterator[Lease]:
        if role in self._held:
            await self._turn(role)
        self._held.add(role)
        self._tokens[role] = self._tokens.get(role, 0) + 1
        try:
            yield MemoryLease(self._tokens[role], unclean=False)
        finally:
            self._pass_on(role)

    async def _turn(self, role: str) -> None:
        """Wait until the role is handed over. It stays held in between, so that nobody comes first."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(role, deque())
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in queue:
                queue.remove(turn)
            else:
                # It was handed over and is not wanted any more.
                self._pass_on(role)
            raise

    def _pass_on(self, role: str) -> None:
        queue = self._waiting.get(role, deque())
        while queue:
            turn = queue.popleft()
            if not (turn.done() or turn.get_loop().is_closed()):
                wake(turn)
                return
        self._waiting.pop(role, None)
        self._held.discard(role)

    async def members(self) -> Sequence[Member]:
        """This process."""
        now = datetime.now(UTC)
        wanted = tuple(sorted({*self._held, *self._waiting}))
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
