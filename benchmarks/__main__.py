"""`make bench`: five steps on every backend, beside the limit of each store in the same run.

With --listings: how long each question takes that people ask of a store with a million runs.
"""

import argparse
import asyncio
import cProfile
import gc
import os
import platform
import pstats
import tempfile
from pathlib import Path

from benchmarks.at_rest import LIVE, idle, live_runs
from benchmarks.five_steps import latencies, throughput
from benchmarks.listings import listings
from benchmarks.scale_out import scale_out
from benchmarks.stores import Memory, Postgres, SQLite, Store
from benchmarks.timers import timers

IN_FLIGHT = ((1, 300), (100, 4_000), (1_000, 8_000))
"""Runs in flight, and how many in all."""
ONE_BY_ONE = 300
TIMERS = 10_000
STORED = 1_000_000
"""Runs of a large store; 200,000 give a quick look."""
IDLE = 10.0


async def measured(store: Store) -> None:
    """Print every figure of one store."""
    for in_flight, runs in IN_FLIGHT:
        async with store.fresh() as backend:
            reached = await throughput(backend, runs, in_flight)
        limit = await store.by_hand(in_flight)
        print(
            f"{store.name:9}{in_flight:6,} in flight {reached:9,.0f} steps/s, "
            f"{reached / limit:5.0%} of {limit:,.0f} by hand"
        )
    async with store.fresh() as backend:
        taken = await latencies(backend, ONE_BY_ONE)
    p50, p99 = taken[len(taken) // 2], taken[len(taken) * 99 // 100]
    print(f"{store.name:9} one at a time   p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms from trigger to done")
    async with store.fresh() as backend:
        rates = await timers(backend, TIMERS)
    print(
        f"{store.name:9} timers          {rates.armed:,.0f} armed/s and {rates.fired:,.0f} fired/s, "
        f"{rates.armed / rates.triggered:.0%} and {rates.fired / rates.triggered:.0%} "
        f"of {rates.triggered:,.0f} triggers/s meanwhile"
    )
    async with store.fresh() as backend:
        cpu, woken = await idle(backend, IDLE)
    print(f"{store.name:9} idle            {cpu:.2%} of a core, {woken:.1f} wake-ups a second")
    grown = await live_runs(store)
    print(f"{store.name:9} {LIVE:,} live runs take {grown / 1e6:.1f} MB of their process\n")


async def profiled(store: Store) -> None:
    """Print where the time goes at 1,000 in flight. The profiler itself takes its share of every call."""
    in_flight, runs = IN_FLIGHT[-1]
    profile = cProfile.Profile()
    async with store.fresh() as backend:
        profile.enable()
        reached = await throughput(backend, runs // 2, in_flight)
        profile.disable()
    print(f"{store.name}: {reached:,.0f} steps/s under the profiler; the loop's thread alone:")
    pstats.Stats(profile).sort_stats("tottime").print_stats(30)


def chosen(names: list[str], directory: Path) -> list[Store]:
    """The stores of these names.

    Raises:
        SystemExit: there is no such store, or Postgres is asked for and WORKFLOW_POSTGRES_URL is not set.
    """
    stores: list[Store] = []
    for name in names:
        if name == "memory":
            stores.append(Memory())
        elif name == "sqlite":
            stores.append(SQLite(directory))
        elif name == "postgres":
            if "WORKFLOW_POSTGRES_URL" not in os.environ:
                raise SystemExit("postgres: WORKFLOW_POSTGRES_URL is not set (`make bench` starts a server)")
            stores.append(Postgres(os.environ["WORKFLOW_POSTGRES_URL"]))
        else:
            raise SystemExit(f"--backends: there is no {name!r}; there are memory, sqlite and postgres")
    return stores


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--backends", default="memory,sqlite,postgres", help="which, separated by commas")
    parser.add_argument("--profile", action="store_true", help="say where the time goes instead")
    parser.add_argument("--listings", action="store_true", help="ask large stores instead (not memory)")
    parser.add_argument("--runs", type=int, default=STORED, help="runs in a large store (default: %(default)s)")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f} before the start\n")
    # As docs/performance.md advises services: what was imported stays, so the garbage collector need not look at it
    # again; and young objects of a thousand runs in flight are not garbage just because they are many.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    with tempfile.TemporaryDirectory() as directory:
        for store in chosen(arguments.backends.split(","), Path(directory)):
            if arguments.listings:
                if not isinstance(store, Memory):
                    asyncio.run(listings(store, arguments.runs))
                continue
            asyncio.run(profiled(store) if arguments.profile else measured(store))
            if isinstance(store, Postgres) and not arguments.profile:
                asyncio.run(scale_out(store))


if __name__ == "__main__":
    main()
