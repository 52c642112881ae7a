"""Retention removes what nobody needs any more, and never what is live or unread."""

import asyncio
from datetime import datetime, timedelta
from typing import Literal

import pytest
from msgspec.structs import replace

from tests.e2e.model import Status, Thing
from tests.postgres.database import Database
from workflow import Builder, Options, Run
from workflow.protocols import WHOLE, HeldCallback, Page, Record, RecordQuery, RunState, partition_of
from workflow.verify import verify
from workflow_adapters.conformance._values import NOW, WORKFLOW, created, moved, put, timer, until
from workflow_adapters.conformance.events import TOPIC, some, versions
from workflow_adapters.postgres import PostgresBackend, Retention

DAY = timedelta(days=1)
WEEK = Retention(finished_runs=7 * DAY, events=7 * DAY, abandoned_consumers=30 * DAY, every=DAY)


async def _finish(backend: PostgresBackend, run_id: str, state: RunState) -> None:
    await put(backend.record_store, created(run_id))
    await put(backend.record_store, moved(created(run_id).record, run_state=state))


async def _left(database: Database, table: str) -> set[str]:
    return {row[0] for row in await database.beside.fetch(f"select run_id from {database.table(table)}")}


async def _age(database: Database, table: str, column: str, age: timedelta, where: str = "true") -> None:
    await database.beside.execute(
        f"update {database.table(table)} set {column} = now() - $1::interval where {where}", age
    )


async def test_only_finished_runs_that_are_old_go_with_all_they_have(database: Database) -> None:
    async with database.backend(retention=WEEK) as backend:
        gone = {RunState.COMPLETED, RunState.CANCELLED, RunState.DATA_DELETED}
        for state in RunState:
            if state is not RunState.UNKNOWN:
                await _finish(backend, state.name, state)
        await _finish(backend, "young", RunState.COMPLETED)
        assert backend.timeout_store is not None
        await backend.timeout_store.create([timer("COMPLETED"), timer("PAUSED")])
        await _age(database, "runs", "updated_at", 8 * DAY)
        await _age(database, "runs", "updated_at", 6 * DAY, "run_id = 'young'")
        await backend.tidy()
        stay = {state.name for state in RunState} - {state.name for state in gone} - {"UNKNOWN"} | {"young"}
        assert await _left(database, "runs") == stay
        assert await _left(database, "history") == stay
        assert await _left(database, "timeouts") == {"PAUSED"}
        (outcome,) = await backend.record_store.store([created("COMPLETED")])
        assert outcome.ok, "a run ID that was removed may be used again"


async def test_without_a_time_for_runs_they_stay_for_ever(database: Database) -> None:
    async with database.backend() as backend:
        await _finish(backend, "old", RunState.COMPLETED)
        await _age(database, "runs", "updated_at", 3650 * DAY)
        await backend.tidy()
        assert await _left(database, "runs") == {"old"}


async def test_many_go_in_batches_and_two_who_tidy_at_once_do_not_meet(database: Database) -> None:
    async with database.backend(retention=WEEK) as backend, database.backend(retention=WEEK) as other:
        await backend.record_store.store([created(f"live {number}") for number in range(10)])
        for start in range(0, 2_500, 500):
            some_ids = [f"run {number}" for number in range(start, start + 500)]
            await backend.record_store.store([created(run_id) for run_id in some_ids])
        await database.beside.execute(f"update {database.table('runs')} set run_state = 5 where run_id like 'run %'")
        await _age(database, "runs", "updated_at", 8 * DAY)
        await asyncio.gather(backend.tidy(), other.tidy())
        await backend.tidy()  # one of them left as soon as it met the other
        assert len(await _left(database, "runs")) == len(await _left(database, "history")) == 10


async def test_a_callback_that_was_taken_is_remembered_for_a_day_and_a_held_one_stays(database: Database) -> None:
    async with database.backend(retention=WEEK) as backend:
        store = backend.record_store
        for name in ("old", "young", "held"):
            await put(store, created(name))
            await store.hold(_callback(name))
        for name in ("old", "young"):
            (outcome,) = await store.store([replace(moved(created(name).record), takes=(name,))])
            assert outcome.ok
        await _age(database, "held_callbacks", "taken_at", 2 * DAY, "id <> 'young'")
        await _age(database, "held_callbacks", "created_at", 90 * DAY)
        await database.beside.execute(
            f"update {database.table('held_callbacks')} set taken_at = null where id = 'held'"
        )
        await backend.tidy()
        rows = await database.beside.fetch(f"select id from {database.table('held_callbacks')}")
        assert {row[0] for row in rows} == {"young", "held"}


def _callback(run_id: str) -> HeldCallback:
    record = created(run_id).record
    return HeldCallback(
        id=run_id,
        workflow_name=record.workflow_name,
        foreign_id=record.foreign_id,
        status=1,
        payload=b"payload",
        created_at=NOW,
        expires_at=NOW + 7 * DAY,
    )


async def _read(backend: PostgresBackend, consumer: str, count: int) -> None:
    """Read and acknowledge so many events of one run."""
    async with backend.event_streamer.receiver(TOPIC, consumer, shard=WHOLE) as receiver:
        await receiver.ack(await receiver.receive(count))


async def _events(database: Database) -> list[int]:
    rows = await database.beside.fetch(f"select position from {database.table('events')} order by 1")
    return [row[0] for row in rows]


async def test_events_go_when_every_consumer_of_their_topic_has_read_them(database: Database) -> None:
    async with database.backend(retention=WEEK) as backend:
        await backend.event_streamer.send(some(10, run_id="run"))
        await _read(backend, "fast", 10)
        await _read(backend, "slow", 4)
        await backend.tidy()
        assert len(await _events(database)) == 10, "they are young"
        await _age(database, "events", "sent_at", 8 * DAY)
        await backend.tidy()
        assert await _events(database) == [5, 6, 7, 8, 9, 10]
        async with backend.event_streamer.receiver(TOPIC, "slow", shard=WHOLE) as receiver:
            assert versions(await receiver.receive(10)) == [5, 6, 7, 8, 9, 10]


async def test_a_consumer_that_has_read_of_another_partition_only_has_not_read_these(database: Database) -> None:
    async with database.backend(retention=WEEK) as backend:
        other = next(name for name in map(str, range(100)) if partition_of(name, 16) != partition_of("run", 16))
        await backend.event_streamer.send(some(3, run_id=other))
        await _read(backend, "reader", 3)
        await backend.event_streamer.send(some(3, run_id="run"))
        await _age(database, "events", "sent_at", 8 * DAY)
        await backend.tidy()
        assert await _events(database) == [4, 5, 6]


async def test_a_consumer_that_had_nothing_to_read_for_long_is_not_abandoned(database: Database) -> None:
    """It was stopped after a quiet month: what was sent since waits for it as for any other."""
    async with database.backend(retention=WEEK) as backend:
        await backend.event_streamer.send(some(2, run_id="run"))
        await _read(backend, "reader", 1)
        await _age(database, "cursors", "updated_at", 40 * DAY)
        await _age(database, "events", "sent_at", 8 * DAY)
        await backend.tidy()
        assert await _events(database) == [2], "unread for eight days"
        await _age(database, "events", "sent_at", 31 * DAY)
        await backend.tidy()
        assert await _events(database) == [], "unread for a month by one who read nothing else either"


async def test_the_checker_takes_no_offence_at_a_run_that_retention_removes_meanwhile(database: Database) -> None:
    async with database.backend(retention=WEEK) as backend:
        await _finish(backend, "old", RunState.COMPLETED)
        await _age(database, "runs", "updated_at", 8 * DAY)
        store = backend.record_store
        listed = await store.list(RecordQuery(workflow_name=WORKFLOW))
        await backend.tidy()

        class Late(type(store)):  # type: ignore[misc]
            """Answers the first list with what was there a moment ago."""

            async def list(self, query: RecordQuery) -> Page[Record]:
                return listed if query.cursor is None else Page()

        store.__class__ = Late
        report = await verify(store, WORKFLOW)
    assert report.ok, str(report)
    assert report.runs == 0


@pytest.mark.timeout(60)
async def test_retention_of_no_time_at_all_takes_nothing_from_runs_that_are_moving(database: Database) -> None:
    builder = Builder("swept", Thing, Status)
    ended: list[str] = []

    @builder.step(Status.A, options=Options(parallel_count=2))
    async def first(run: Run[Thing, Status]) -> Literal[Status.B]:
        await asyncio.sleep(0.01)
        return Status.B

    @builder.timeout(Status.B, timedelta(milliseconds=30))
    async def late(run: Run[Thing, Status], now: datetime) -> Literal[Status.C]:
        return Status.C

    @builder.step(Status.C)
    async def last(run: Run[Thing, Status]) -> Literal[Status.D]:
        ended.append(run.foreign_id)
        return Status.D

    zero = timedelta(0)
    retention = Retention(finished_runs=zero, events=zero, every=timedelta(milliseconds=20))
    async with database.backend(retention=retention) as backend, builder.build(backend).running() as wf:
        names = [f"run {number}" for number in range(200)]
        for name in names:
            await wf.trigger(name)

        async def nothing_is_left() -> bool:
            return not any([await _left(database, table) for table in ("runs", "history", "timeouts")])

        await until(nothing_is_left)
    assert sorted(ended) == sorted(names), "each ended once"
