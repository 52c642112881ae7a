"""Long runs that look for what short tests cannot show. All of them end with the checker.

WORKFLOW_POSTGRES_URL=postgresql://… python -m tests.soak [kills | timers | snapshot] [--help]
"""

import argparse
import asyncio
import tempfile
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.backends import postgres_url
from tests.postgres.database import connected
from tests.soak.kills import kill_workers
from tests.soak.snapshot import hold_snapshot
from tests.soak.timers import fire_timers

Soak = Callable[[str, str], Awaitable[object]]


async def _in_a_schema(soak: Soak) -> object:
    url, schema = postgres_url(), f"soak_{uuid.uuid4().hex[:8]}"
    try:
        return await soak(url, schema)
    finally:
        async with connected(url) as connection:
            await connection.execute(f"drop schema if exists {schema} cascade")


async def _in_a_file(soak: Soak) -> object:
    with tempfile.TemporaryDirectory() as directory:
        return await soak(str(Path(directory) / "soak.db"), "")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command")
    kills = commands.add_parser("kills", help="four workers, one killed with SIGKILL every second (the default)")
    kills.add_argument("--runs", type=int, default=5_000)
    kills.add_argument("--seconds", type=float, default=60.0)
    kills.add_argument("--sqlite", action="store_true", help="on an SQLite file instead of Postgres")
    timers = commands.add_parser("timers", help="timers that become due in one minute: each fires once")
    timers.add_argument("--timers", type=int, default=100_000)
    timers.add_argument("--ahead", type=float, default=240.0, help="seconds for arming them (default: %(default)g)")
    snapshot = commands.add_parser("snapshot", help="work while somebody holds a snapshot open: no slow-down")
    snapshot.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    if given.command is None:
        given = parser.parse_args(["kills"])
    place = _in_a_file if given.command == "kills" and given.sqlite else _in_a_schema
    print(asyncio.run(place(_soak(given))))


def _soak(given: argparse.Namespace) -> Soak:
    async def soak(store: str, schema: str) -> object:
        if given.command == "timers":
            return await fire_timers(store, schema, timers=given.timers, window=60, ahead=given.ahead)
        if given.command == "snapshot":
            return await hold_snapshot(store, schema, seconds=given.seconds)
        return await kill_workers(store, schema, runs=given.runs, seconds=given.seconds)

    return soak


if __name__ == "__main__":
    main()
