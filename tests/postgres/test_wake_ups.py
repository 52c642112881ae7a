"""Who writes tells the relay of another process, whatever else it has just looked at."""

import asyncio
from datetime import UTC, datetime, timedelta

from tests.postgres.database import Database
from workflow_adapters.conformance._values import created

LONG = timedelta(seconds=60)


async def test_who_looks_at_the_outbox_without_relaying_still_tells_the_relay(database: Database) -> None:
    """The sweeper looks, too: it must not be taken for the relay, which would then wait for its safety net."""
    async with database.backend(safety_net=LONG) as sweeping, database.backend(safety_net=LONG) as relaying:
        change = created("run", "key")
        name = change.record.workflow_name
        waiting = asyncio.ensure_future(relaying.record_store.wait_for_outbox(name))
        # Whatever is heard at the start of listening has been heard.
        await asyncio.wait([waiting], timeout=0.5)
        if waiting.done():
            waiting = asyncio.ensure_future(relaying.record_store.wait_for_outbox(name))
        await sweeping.record_store.list_outbox(name, now=datetime.now(UTC), limit=2)
        await sweeping.record_store.store([change])
        async with asyncio.timeout(5):
            await waiting
