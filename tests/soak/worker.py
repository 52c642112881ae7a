"""A worker process: runs workflows of the model until it is told to stop, or killed.

`python -m tests.soak.worker STORE SCHEMA LEASE_SECONDS PARALLEL_COUNT NAME…`
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from tests.soak.model import declare
from tests.soak.stores import opened


async def work(store: str, schema: str, lease_time: float, parallel_count: int, names: Sequence[str]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(opened(store, schema, lease_time))
        for name in names:
            await stack.enter_async_context(declare(name, parallel_count).build(backend).running())
        await stop.wait()


class Worker:
    """A worker process, as whoever starts it sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    async def kill(self) -> None:
        """SIGKILL: it can do nothing about it."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM, and its exit status."""
        if self.process.returncode is None:
            self.process.terminate()
        return await self.process.wait()


async def start(
    store: str, schema: str, *, lease_time: float, parallel_count: int = 4, names: Sequence[str] = ("soak",)
) -> Worker:
    """Start a worker process."""
    arguments = [store, schema, str(lease_time), str(parallel_count), *names]
    return Worker(await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.soak.worker", *arguments))


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5:]))
