"""The order of the event log is the order in which its events become visible, so no reader ever passes over one."""

import asyncio
import random

import asyncpg

from tests.postgres.database import Database, connected
from workflow.protocols import WHOLE
from workflow_adapters.conformance._values import until
from workflow_adapters.conformance.events import TOPIC, some, versions
from workflow_adapters.postgres.events import _SEND
from workflow_adapters.postgres.names import APPEND_LOCK, lock_key
from workflow_adapters.postgres.rows import encode_event


async def _append(connection: asyncpg.Connection, database: Database, number: int) -> None:
    """As a relay does, but in a transaction that the caller ends when it likes."""
    (event,) = some(1, run_id="slow", start=number)
    sql = _SEND.replace("{schema}", f'"{database.schema}"')
    key = lock_key(database.schema, APPEND_LOCK)
    await connection.fetch(sql, [event.topic], [0], [encode_event(event)], key)


async def test_who_appends_waits_for_one_who_has_a_number_and_has_not_committed(database: Database) -> None:
    async with (
        database.backend() as backend,
        connected(database.url) as slow,
        backend.event_streamer.receiver(TOPIC, "reader", shard=WHOLE) as receiver,
    ):
        change = slow.transaction()
        await change.start()
        await _append(slow, database, 0)
        sending = asyncio.create_task(backend.event_streamer.send(some(1, run_id="fast", start=1)))

        async def it_waits() -> bool:
            sql = """select 1 from pg_locks where locktype = 'advisory' and not granted
                and (classid::bigint << 32 | objid::bigint) = $1"""
            return await database.value(sql, lock_key(database.schema, APPEND_LOCK)) is not None

        async with asyncio.timeout(10):
            await until(it_waits)
            await change.commit()
            await sending
            received: list[int] = []
            while len(received) < 2:
                received += versions(await receiver.receive(10))
    assert received == [1, 2]
    rows = await database.beside.fetch(
        f"select convert_from(event, 'UTF8')::jsonb ->> 'version' from {database.table('events')} order by position"
    )
    assert [row[0] for row in rows] == ["1", "2"]


async def test_concurrent_relays_and_slow_transactions_hide_no_event_from_any_reader(database: Database) -> None:
    """Three processes append at once, and two transactions that keep their numbers to themselves for a while."""
    each = 60
    async with database.backend() as one, database.backend() as two, database.backend() as three:
        backends = (one, two, three)

        async def relay(index: int) -> None:
            for number in range(each):
                start = index * each + number
                await backends[index].event_streamer.send(some(1, run_id=f"run {start % 7}", start=start))

        async def slowly(index: int) -> None:
            choose = random.Random(index)
            async with connected(database.url) as connection:
                for number in range(each):
                    async with connection.transaction():
                        await _append(connection, database, index * each + number)
                        await asyncio.sleep(choose.random() * 0.01)

        async def read(index: int) -> list[tuple[int, int]]:
            got: list[tuple[int, int]] = []
            async with backends[index].event_streamer.receiver(TOPIC, f"reader {index}", shard=WHOLE) as receiver:
                while len(got) < 5 * each:
                    got += [(event.position, event.version) for event in await receiver.receive(50)]
            return got

        async with asyncio.timeout(60):
            everything = await asyncio.gather(
                *(read(index) for index in range(3)),
                *(relay(index) for index in range(3)),
                *(slowly(index) for index in (3, 4)),
            )
    for got in everything[:3]:
        assert got is not None
        assert sorted(version for _, version in got) == list(range(1, 5 * each + 1)), "each event once"
        assert [position for position, _ in got] == sorted(position for position, _ in got)
