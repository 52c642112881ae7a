"""Holding a role: the time in which a process may work, and how it ends.

A term ends in one of three ways: the workflow stops, the lease is lost or wanted elsewhere, or the task is
cancelled. In the first two the process takes nothing new and lets handlers finish within the drain time.
"""

import asyncio
from collections.abc import Collection
from typing import Any

from ..protocols import Lease

GRACE = 5.0
"""Seconds a cancelled handler gets to clean up. After that it is left behind; its result is never taken."""


class LeaseTerm:
    """One holding of a role.

    Attributes:
        lease: the lease that the role scheduler granted.
        draining: set once nothing new may be started.
        began: when the role was granted, by the loop's time.
    """

    def __init__(self, lease: Lease, drain_time: float) -> None:
        self.lease = lease
        self.draining = asyncio.Event()
        self.drain_time = drain_time
        self.began = asyncio.get_running_loop().time()

    async def drain(self, tasks: Collection["asyncio.Task[None]"]) -> None:
        """Wait for these tasks up to the drain time, then cancel them and wait for their clean-up."""
        if running := [task for task in tasks if not task.done()]:
            await asyncio.wait(running, timeout=self.drain_time)
        await end(tasks)


async def end(tasks: "Collection[asyncio.Future[Any]]") -> None:
    """Cancel what still runs and wait, a bounded time, until it is through."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=GRACE)
