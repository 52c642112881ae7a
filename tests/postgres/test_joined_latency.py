"""What was joined to a user's transaction goes on soon after its commit, however long that took."""

import asyncio
from datetime import timedelta

import pytest

from tests.postgres.database import Database, connected
from tests.soak.model import Status, declare

LONG, SOON = timedelta(seconds=60), timedelta(seconds=3)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["by the same process", "by another process"])
async def test_a_joined_run_is_worked_on_soon_after_a_slow_commit(database: Database, elsewhere: bool) -> None:
    """The safety net of a minute would find it, too, but not soon."""
    backends = (database.backend(safety_net=LONG), database.backend(safety_net=LONG))
    async with backends[0] as backend, backends[1] as other, connected(database.url) as connection:
        joining = declare().build(backend)
        async with declare().build(other if elsewhere else backend).running() as wf:
            async with connection.transaction(), backend.joined(connection):
                await joining.trigger("key")
                await asyncio.sleep(0.5)  # the user is slow; by then every early wake-up has been in vain
            await wf.wait_for("key", Status.DONE, timeout=SOON)


async def test_closing_does_not_wait_for_a_transaction_that_is_still_open(database: Database) -> None:
    async with connected(database.url) as connection:
        change = connection.transaction()
        async with database.backend() as backend:
            await change.start()
            async with backend.joined(connection):
                await declare().build(backend).trigger("key")
        await change.commit()
    assert await database.value(f"select count(*) from {database.table('runs')}") == 1
