"""Deadlocks and serialization failures are the server's way of saying "again": nobody else hears of them."""

import asyncio

import pytest

from tests.postgres.database import Database
from tests.soak.load import Load
from tests.soak.model import declare
from workflow.protocols import Verdict
from workflow_adapters.conformance._values import created, settled


async def test_batches_that_deadlock_are_written_all_the_same(database: Database) -> None:
    """Two processes create runs of the same foreign IDs in opposite order; the server looks for deadlocks at once."""
    counted = "select deadlocks from pg_stat_database where datname = current_database()"
    before = await database.value(counted)
    async with database.user() as user:
        await database.beside.execute(f"alter role \"{user.name}\" set deadlock_timeout = '5ms'")
        async with database.backend(user.url) as one, database.backend(user.url) as two:
            for turn in range(40):
                names = [f"{turn}-{number}" for number in range(100)]
                batches = [
                    [created(f"one {name}", name) for name in names],
                    [created(f"two {name}", name) for name in reversed(names)],
                ]
                answers = await asyncio.gather(
                    *(settled(b.record_store, *batch) for b, batch in zip((one, two), batches, strict=True))
                )
                verdicts = [outcome.verdict for answer in answers for outcome in answer]
                assert verdicts.count(Verdict.APPLIED) == verdicts.count(Verdict.IN_PROGRESS) == len(names)

    async def counted_some() -> None:
        while await database.value(counted) == before:  # statistics arrive late
            await asyncio.sleep(0.1)

    async with asyncio.timeout(20):
        await counted_some()


@pytest.mark.parametrize("pooled", [False, True])
async def test_another_default_isolation_changes_nothing(
    database: Database, caplog: pytest.LogCaptureFixture, pooled: bool
) -> None:
    """A compare-and-swap in one statement needs no more than read committed, and under more it would fail."""
    async with database.user() as user:
        await database.beside.execute(f"alter role \"{user.name}\" set default_transaction_isolation = 'serializable'")
        options = {"statement_cache_size": 0 if pooled else 100}
        async with database.backend(user.url, **options) as one, database.backend(user.url, **options) as two:
            builder = declare(parallel_count=4)
            async with builder.build(one).running() as wf, builder.build(two).running():
                load = Load(wf, one.record_store, 300)
                await load.feed()
                await load.ended(load.count_ended, within=60)
                assert await load.judge() == 0
    assert [record.getMessage() for record in caplog.records if record.name.startswith("workflow")] == []
