"""Postgres without an engine: how fast the server takes the engine's kind of work from raw asyncpg.

Every run is created and moved five times. A batch of moves is one statement: compare-and-swap, history row, outbox row.
A relay moves outbox rows to an event log meanwhile, as the engine must.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import msgspec

from benchmarks.five_steps import STEPS, Counter

ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(Counter)
BATCH = 500
WRITERS = 2
"""Statements under way at once."""
RELAY_PAUSE = 0.005

TABLES = """
drop schema if exists by_hand cascade;
create schema by_hand;
create table by_hand.runs (
    run_id uuid primary key, workflow text not null, foreign_id text not null, state smallint not null,
    status integer not null, object bytea not null, version integer not null, created_at timestamptz not null,
    updated_at timestamptz not null
) with (fillfactor = 70);
create unique index on by_hand.runs (workflow, foreign_id) where state in (1, 2, 3);
create index on by_hand.runs (workflow, status);
create table by_hand.history (
    run_id uuid, version integer, status integer, state smallint, object bytea, at timestamptz,
    primary key (run_id, version)
);
create table by_hand.outbox (
    id bigint generated always as identity primary key, topic text, run_id uuid, foreign_id text, version integer,
    status integer, due_at timestamptz
);
create table by_hand.events (
    position bigint generated always as identity, topic text, run_id uuid, foreign_id text, version integer,
    status integer, primary key (topic, position)
);
"""
CREATE = """
with given as (select * from unnest($1::uuid[], $2::text[], $3::bytea[]) as t (run_id, foreign_id, object)),
created as (
    insert into by_hand.runs select run_id, 'w', foreign_id, 1, 1, object, 1, now(), now() from given
    on conflict do nothing returning run_id
),
recorded as (
    insert into by_hand.history
    select run_id, 1, 1, 1, object, now() from given join created using (run_id)
)
insert into by_hand.outbox (topic, run_id, foreign_id, version, status, due_at)
select 'w-1', run_id, foreign_id, 1, 1, now() from given join created using (run_id) returning run_id
"""
MOVE = """
with given as (
    select * from unnest($1::uuid[], $2::integer[], $3::smallint[], $4::bytea[], $5::text[])
    as t (run_id, expected, state, object, foreign_id)
),
moved as (
    update by_hand.runs r
    set status = g.expected + 1, state = g.state, object = g.object, version = g.expected + 1, updated_at = now()
    from given g where r.run_id = g.run_id and r.version = g.expected returning r.run_id
),
recorded as (
    insert into by_hand.history
    select run_id, expected + 1, expected + 1, state, object, now() from given join moved using (run_id)
)
insert into by_hand.outbox (topic, run_id, foreign_id, version, status, due_at)
select 'w-' || expected + 1, run_id, foreign_id, expected + 1, expected + 1, now() from given join moved using (run_id)
returning run_id
"""
RELAY = """
with taken as (
    delete from by_hand.outbox where id in (
        select id from by_hand.outbox where due_at <= now() order by id limit 1000 for update skip locked
    ) returning *
)
insert into by_hand.events (topic, run_id, foreign_id, version, status)
select topic, run_id, foreign_id, version, status from taken order by id returning 1
"""

Row = tuple[Any, ...]


class _Batches:
    """Rows that wait are sent together; what comes meanwhile goes with the next batch."""

    def __init__(self, send: Callable[[Sequence[Row]], Awaitable[set[uuid.UUID]]]) -> None:
        self._send = send
        self._waiting: deque[tuple[Row, asyncio.Future[bool]]] = deque()
        self._writers: set[asyncio.Task[None]] = set()

    async def write(self, row: Row) -> bool:
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        if len(self._writers) < WRITERS:
            writer = asyncio.ensure_future(self._write())
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        return await done

    async def _write(self) -> None:
        await asyncio.sleep(0)
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
            applied = await self._send([row for row, _ in batch])
            for row, done in batch:
                done.set_result(row[0] in applied)


async def steps_per_second(dsn: str, runs: int, in_flight: int) -> tuple[float, float]:
    """Versions a second beyond the first of each run, and the median seconds of a whole run."""
    pool = await asyncpg.create_pool(dsn, min_size=4, max_size=6)
    await pool.execute(TABLES)

    def sender(sql: str) -> Callable[[Sequence[Row]], Awaitable[set[uuid.UUID]]]:
        async def send(rows: Sequence[Row]) -> set[uuid.UUID]:
            return {row[0] for row in await pool.fetch(sql, *map(list, zip(*rows, strict=True)))}

        return send

    creations, moves = _Batches(sender(CREATE)), _Batches(sender(MOVE))
    numbers, taken = iter(range(runs)), list[float]()

    async def relay() -> None:
        while True:
            if not await pool.fetch(RELAY):
                await asyncio.sleep(RELAY_PAUSE)

    async def keep_one_in_flight() -> None:
        for number in numbers:
            began = time.perf_counter()
            await _one_run(creations, moves, f"f{number}")
            taken.append(time.perf_counter() - began)

    relaying = asyncio.ensure_future(relay())
    began = time.perf_counter()
    await asyncio.gather(*(keep_one_in_flight() for _ in range(in_flight)))
    seconds = time.perf_counter() - began
    relaying.cancel()
    await asyncio.gather(relaying, return_exceptions=True)
    await pool.execute("drop schema by_hand cascade")
    await pool.close()
    return runs * STEPS / seconds, sorted(taken)[runs // 2]


async def _one_run(creations: _Batches, moves: _Batches, foreign_id: str) -> None:
    run_id, data = uuid.uuid4(), ENCODER.encode(Counter())
    if not await creations.write((run_id, foreign_id, data)):
        raise AssertionError("a new run was not created")
    for step in range(1, STEPS + 1):
        value = DECODER.decode(data)
        value.count += 1
        data = ENCODER.encode(value)
        if not await moves.write((run_id, step, 5 if step == STEPS else 2, data, foreign_id)):
            raise AssertionError("nobody else moves these runs")
