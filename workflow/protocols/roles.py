"""Which process does what."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from .._model.process import Holding, Member


class Lease(Protocol):
    """A role that is held.

    Attributes:
        token: rises with each takeover of the role; for diagnosis, safety does not depend on it.
        unclean: the holder before did not release the role: its lease ran out, so it may have crashed.
        lost: set once the role must be given up: because it is lost, or because another process should have it. The
            holder then finishes its running work and leaves the context.
    """

    token: int
    unclean: bool
    lost: asyncio.Event


class RoleScheduler(Protocol):
    """Spreads roles over processes. Proved by `workflow_adapters.conformance.roles`."""

    @abstractmethod
    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        """Wait for the role and hold it inside the context; leaving the context releases it at once.

        At most one process believes to hold a role at a time, as long as clocks and pauses behave; two may for a
        moment when they do not. Roles of one `group` that the same processes want are given to the same process, and
        groups are spread evenly over the live processes that want them. A role is never kept from the only process
        that wants it. Waiting is safe to cancel.

        Releases may cut a work into different numbers of shards. "x-1-of-2" in a group that ends in "/1-of-2" and
        "x-3-of-4" in one that ends in "/3-of-4" are such shards of "x": they read the same partitions (see `Shard`), so
        that they exclude each other like one role. Who waits is served once the others are released.
        """

    @abstractmethod
    async def members(self) -> Sequence[Member]:
        """The live processes, by id."""

    @abstractmethod
    async def holdings(self) -> Sequence[Holding]:
        """Every role that is or was held, with its holder or the last one, by role.

        Roles without a holder for a day may be left out.
        """
