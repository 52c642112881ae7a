"""`make bench`: five steps on memory and SQLite, beside the raw limit of each in the same run."""

import asyncio
import gc
import os
import platform
import tempfile
from pathlib import Path

from benchmarks import by_hand
from benchmarks.five_steps import idle, latencies, throughput
from workflow.protocols import Backend
from workflow_adapters.memory import MemoryBackend
from workflow_adapters.sqlite import SQLiteBackend

IN_FLIGHT = ((1, 300), (100, 4000), (1000, 8000))
IDLE = 10.0


def fresh(name: str, directory: Path) -> Backend:
    if name == "memory":
        return MemoryBackend()
    return SQLiteBackend(directory / f"{len(list(directory.iterdir()))}.db")


async def measured(name: str, directory: Path) -> dict[int, float]:
    figures = {}
    for in_flight, runs in IN_FLIGHT:
        async with fresh(name, directory) as backend:
            figures[in_flight] = await throughput(backend, runs, in_flight)
            print(f"{name:7} {in_flight:5} in flight  {figures[in_flight]:8,.0f} steps/s")
    async with fresh(name, directory) as backend:
        taken = await latencies(backend, 300)
        print(
            f"{name:7} one at a time    p50 {taken[150] * 1e3:.2f} ms, p99 {taken[297] * 1e3:.2f} ms, trigger to done"
        )
    async with fresh(name, directory) as backend:
        cpu, woken = await idle(backend, IDLE)
        print(f"{name:7} idle             {cpu:.2%} of a core, {woken:.1f} wake-ups a second")
    return figures


def main() -> None:
    print(
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]}"
    )
    # What was imported stays: the garbage collector need not look at it again. Services should do the same.
    gc.freeze()
    with tempfile.TemporaryDirectory() as directory:
        for name in ("memory", "sqlite"):
            figures = asyncio.run(measured(name, Path(directory)))
            raw = by_hand.memory(40_000) if name == "memory" else by_hand.sqlite(Path(directory) / "raw.db", 5000, 250)
            print(
                f"{name:7} by hand          {raw:8,.0f} steps/s; the engine reaches {figures[1000] / raw:.0%} of it\n"
            )


if __name__ == "__main__":
    main()
