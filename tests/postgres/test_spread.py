"""Three processes on one database share the shards of a workflow evenly, and take over from one another."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.postgres.database import Database
from tests.soak.worker import Worker, start
from workflow_adapters.conformance._values import until

SHARDS = [f"spread/{index}-of-6" for index in range(1, 7)]
PATIENCE = 30.0


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        await until(condition)


async def _held(database: Database) -> dict[int, dict[str, set[str]]]:
    """For each process id with a lease, the shards it holds, and the roles of each: as the database sees it."""
    rows = await database.beside.fetch(
        f"""select l.holder, l.role, g.name from {database.table("leases")} l join lateral (
            select name from {database.table("members")} m, unnest(m.roles, m.groups) as w (role, name)
            where w.role = l.role limit 1) g on true
        where l.holder <> '' and l.expires_at > clock_timestamp()"""
    )
    held: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for holder, role, group in rows:
        if group in SHARDS:
            held[int(holder.split(":")[1])][group].add(role)
    return held


async def _shared(database: Database, workers: dict[int, Worker], each: int) -> None:
    """Wait until each of these processes holds so many whole shards, and together they hold all."""

    async def so() -> bool:
        held = await _held(database)
        groups = [group for shards in held.values() for group in shards]
        whole = all(len(roles) == 5 for shards in held.values() for roles in shards.values())
        counts = {pid: len(shards) for pid, shards in held.items()}
        return whole and sorted(groups) == SHARDS and counts == dict.fromkeys(workers, each)

    await _until(so)


@asynccontextmanager
async def _three(database: Database, lease_time: float) -> AsyncIterator[dict[int, Worker]]:
    """Three processes; the ones still in the dictionary at the end are stopped."""
    started = await asyncio.gather(
        *(
            start(database.url, database.schema, lease_time=lease_time, parallel_count=6, names=("spread", "other"))
            for _ in range(3)
        )
    )
    workers = {worker.pid: worker for worker in started}
    try:
        yield workers
    finally:
        await asyncio.gather(*(worker.stop() for worker in started))


async def test_each_of_three_holds_two_of_six_and_a_killed_one_is_replaced_when_its_leases_end(
    database: Database,
) -> None:
    """R-33: all roles of a shard are in one process."""
    async with database.backend(), _three(database, lease_time=3) as workers:
        await _shared(database, workers, each=2)
        victim = next(iter(workers))
        await workers.pop(victim).kill()
        # No lease of the dead is longer than the lease time; each is taken over when it ends, not before.
        left = await database.value(
            f"select extract(epoch from max(expires_at) - clock_timestamp())::float8 from {database.table('leases')} "
            "where holder like '%:' || $1::text || ':%'",
            str(victim),
        )
        assert 0 < left <= 3
        await _shared(database, workers, each=3)
        unclean = await database.value(f"select count(*) from {database.table('leases')} where token > 1")
        assert unclean >= 10, "two shards of five roles were taken over"


async def test_who_stops_hands_over_at_once(database: Database) -> None:
    """With leases of ten minutes, nobody could get them by waiting for their end."""
    async with database.backend(), _three(database, lease_time=600) as workers:
        # Who joins late is given its share after a beat of this long lease: so the shares are whatever they are.
        async def all_held() -> bool:
            return sorted(group for shards in (await _held(database)).values() for group in shards) == SHARDS

        await _until(all_held)
        holders = list(await _held(database))
        stopped = workers.pop(holders[0])
        assert await stopped.stop() == 0

        async def moved() -> bool:
            held = await _held(database)
            return stopped.pid not in held and await all_held()

        await _until(moved)
