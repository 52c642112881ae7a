"""A process that freezes, or whose machine is gone, while a transaction is open must not hold up the others."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tests.postgres.database import Database
from workflow.errors import OutcomeUnknown, Unavailable
from workflow.protocols import Verdict
from workflow_adapters.conformance._values import created, moved, put, until
from workflow_adapters.postgres.names import ROLES_LOCK, lock_key


@pytest.mark.parametrize("pooled", [False, True])
async def test_a_run_that_a_frozen_process_was_moving_is_moved_by_another(database: Database, pooled: bool) -> None:
    frozen, thawed = asyncio.Event(), asyncio.Event()

    async def freeze(_: Any) -> None:
        frozen.set()
        await thawed.wait()

    options = {"command_timeout": timedelta(seconds=1), "statement_cache_size": 0 if pooled else 100}
    async with database.backend(**options) as backend, database.backend() as other:
        (record,) = await put(backend.record_store, created("run"))
        move = msgspec.structs.replace(moved(record), on_commit=(freeze,))
        freezing = asyncio.create_task(backend.record_store.store([move]))
        await frozen.wait()

        async def another_can() -> bool:
            return (await other.record_store.store([moved(record)]))[0].verdict is Verdict.APPLIED

        assert not await another_can(), "the row is held"
        try:
            async with asyncio.timeout(10):
                await until(another_can)
        finally:
            thawed.set()
        (outcome,) = await freezing
        assert outcome.verdict is Verdict.REFUSED, "the server can be reached: it is the function that took too long"


async def test_roles_are_given_although_a_process_froze_while_it_took_some(database: Database) -> None:
    """Taking roles is a transaction of several round trips under a lock that everybody needs."""
    async with database.backend() as backend, database.backend() as other:
        roles: Any = backend.role_scheduler
        frozen, thawed = asyncio.Event(), asyncio.Event()

        async def freeze(connection: Any) -> None:
            await connection.execute(f"select pg_advisory_xact_lock({lock_key(database.schema, ROLES_LOCK)})")
            frozen.set()
            await thawed.wait()

        freezing = asyncio.create_task(roles._lane.transaction(freeze))
        await frozen.wait()
        try:
            async with asyncio.timeout(10), other.role_scheduler.hold("role") as lease:
                assert lease.token == 1
        finally:
            thawed.set()
        with pytest.raises((Unavailable, OutcomeUnknown)):
            await freezing


async def test_the_server_looks_whether_a_quiet_client_is_still_there(database: Database) -> None:
    """A machine that vanished without a word would keep its connections for hours otherwise."""
    async with database.backend() as backend:
        store: Any = backend.record_store
        rows = await store._access.read(
            "select name, setting::integer from pg_settings where name like 'tcp\\_keepalives%' order by 1"
        )
        settings = {row[0]: row[1] for row in rows}
        assert 0 < settings["tcp_keepalives_idle"] <= 60, settings
        assert 0 < settings["tcp_keepalives_interval"] * settings["tcp_keepalives_count"] <= 60, settings
