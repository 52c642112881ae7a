"""Foreign IDs that another transaction holds: who waits for one keeps no commit connection that others need."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.postgres.database import Database, connected
from tests.soak.model import declare
from workflow import WorkflowInProgress
from workflow.protocols import Verdict
from workflow_adapters.conformance._values import created, settled, until

_WAITING = """
select count(*) from pg_stat_activity
where application_name = $1 and wait_event_type = 'Lock' and usename = $2
"""


def _verdicts(outcomes: Sequence[object]) -> list[Verdict]:
    return [outcome.verdict for outcome in outcomes]  # type: ignore[attr-defined]


async def test_a_key_that_is_held_is_asked_for_apart(database: Database) -> None:
    """The uncommitted runs are another process's, so that this one can only find out."""
    keys = [f"key {number}" for number in range(5)]
    async with database.user() as user, database.backend() as other, database.backend(user.url) as backend:
        store = backend.record_store
        async with connected(database.url) as connection:
            change = connection.transaction()
            await change.start()
            async with other.joined(connection):
                await settled(other.record_store, *(created(f"their {key}", key) for key in keys))

            rivals = [created(f"rival for {key}", key) for key in keys]
            verdicts = _verdicts(await store.store([*rivals, created("one")]))
            assert verdicts == [Verdict.BUSY] * 5 + [Verdict.APPLIED]

            newcomers = [created(f"newcomer for {key}", key) for key in keys]
            assert _verdicts(await store.store([*newcomers, created("two")])) == verdicts

            tries = asyncio.gather(*(store.store([rival]) for rival in [*rivals, *newcomers] * 2))
            seen = {"workflow commits": 0, "workflow held": 0}
            number = 0
            while not tries.done():
                number += 1
                assert _verdicts(await store.store([created(f"late {number}")])) == [Verdict.APPLIED]
                for name in seen:
                    seen[name] += await database.value(_WAITING, name, user.name)
            assert {verdict for outcomes in await tries for verdict in _verdicts(outcomes)} == {Verdict.BUSY}
            assert seen["workflow commits"] == 0
            assert seen["workflow held"] > 0
            await change.commit()

        outcomes = await settled(store, *rivals, *newcomers)
        assert {outcome.verdict for outcome in outcomes} == {Verdict.IN_PROGRESS}


@pytest.mark.parametrize("commits", [True, False], ids=["committed", "rolled back"])
async def test_who_waits_for_a_joined_trigger_of_this_process_asks_nobody_and_hears_of_its_end(
    database: Database, commits: bool
) -> None:
    async with (
        database.user() as user,
        database.backend(user.url) as backend,
        connected(database.url) as connection,
    ):
        wf = declare().build(backend)
        change = connection.transaction()
        await change.start()
        async with backend.joined(connection):
            theirs = await wf.trigger("key")
        rival = asyncio.ensure_future(wf.trigger("key"))
        for number in range(10):
            await wf.trigger(f"other {number}")
        assert not rival.done()
        assert "workflow held" not in await user.connections()
        if commits:
            await change.commit()
            with pytest.raises(WorkflowInProgress):
                await rival
        else:
            await change.rollback()
            assert await rival != theirs


async def test_a_run_held_by_a_joined_change_goes_on_after_it(database: Database) -> None:
    async with database.backend() as backend, connected(database.url) as connection:
        wf = declare().build(backend)
        run_id = await wf.trigger("key")
        change = connection.transaction()
        await change.start()
        async with backend.joined(connection):
            await wf.pause(run_id)
        rival = asyncio.ensure_future(wf.cancel(run_id))
        await wf.trigger("another")
        assert not rival.done()
        await change.commit()
        assert (await rival).version == 3


async def test_a_savepoint_that_was_rolled_back_holds_nobody_up_for_long(database: Database) -> None:
    """This process believes that the key is held until it asks."""
    async with database.backend() as backend, connected(database.url) as connection:
        wf = declare().build(backend)
        async with connection.transaction():
            inner = connection.transaction()
            await inner.start()
            async with backend.joined(connection):
                await wf.trigger("key")
            await inner.rollback()
            await wf.trigger("key")

    async def one() -> bool:
        return bool(await database.value(f"select count(*) = 1 from {database.table('runs')}"))

    await until(one)
