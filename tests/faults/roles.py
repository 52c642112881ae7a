"""Role schedulers that are wrong in one way each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count

from tests.faults import Wrapper
from workflow.protocols import Lease

_numbers = count(1)


class HeldTwice(Wrapper):
    """Grants every request."""

    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        granted: AbstractAsyncContextManager[Lease] = self.real.hold(f"{role} {next(_numbers)}", group=group)
        return granted


class KeptByAFailedHolder(Wrapper):
    """Releases only when the holder ends well."""

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        holding = self.real.hold(role, group=group)
        lease: Lease = await holding.__aenter__()
        try:
            yield lease
        except ValueError:
            _kept.append(holding)
            raise
        except BaseException:
            await holding.__aexit__(None, None, None)
            raise
        await holding.__aexit__(None, None, None)


_kept: list[object] = []
"""Holdings that were never left; referenced, so that they are not collected."""


class GhostsOfCancelledWaiters(Wrapper):
    """A waiter that is cancelled goes on waiting, and keeps what it gets."""

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        holding = self.real.hold(role, group=group)
        acquiring = asyncio.ensure_future(holding.__aenter__())
        _kept.append(holding)
        lease: Lease = await asyncio.shield(acquiring)
        try:
            yield lease
        finally:
            await holding.__aexit__(None, None, None)


class GroupsByAnotherRule(Wrapper):
    """Keeps roles of a kind together, whatever their groups."""

    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        granted: AbstractAsyncContextManager[Lease] = self.real.hold(role, group=role.split()[0])
        return granted


class _Changed(Wrapper):
    def __init__(self, real: Lease, **fields: object) -> None:
        super().__init__(real)
        self.__dict__.update(fields)


class TokenStandsStill(Wrapper):
    """Gives every holder the same token."""

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        async with self.real.hold(role, group=group) as lease:
            yield _Changed(lease, token=1)  # type: ignore[misc]


class AlwaysUnclean(Wrapper):
    """Takes every holder before for dead."""

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        async with self.real.hold(role, group=group) as lease:
            yield _Changed(lease, unclean=True)  # type: ignore[misc]


class AlwaysClean(Wrapper):
    """Takes a lease that ran out for one that was released."""

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        async with self.real.hold(role, group=group) as lease:
            yield _Changed(lease, unclean=False)  # type: ignore[misc]


class NeverGivesWay(Wrapper):
    """Does not tell a holder that another process should have the role."""

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        async with self.real.hold(role, group=group) as lease:
            yield _Changed(lease, lost=asyncio.Event())  # type: ignore[misc]
