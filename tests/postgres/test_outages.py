"""The server goes away in every way it can, in the middle of work: nothing is lost or doubled, and work goes on."""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from tests.postgres.cluster import cluster
from tests.postgres.database import Database, User, connected
from tests.postgres.proxy import TO_CLIENT, TO_SERVER, Proxy
from tests.soak.load import Load, persistent
from tests.soak.model import declare
from workflow import RunState
from workflow._processes.supervisor import ProcessState
from workflow_adapters.conformance._values import cancelled, until
from workflow_adapters.postgres import PostgresBackend

SOON = 10.0
"""Seconds within which work must go on after the server is back. It takes about one; a loaded machine needs more."""


def _counter(url: str, schema: str) -> Callable[[], Awaitable[int]]:
    """Counts the runs that have ended, on a connection of its own each time: the server may be away."""

    async def ended() -> int:
        try:
            async with connected(url) as connection:
                return int(
                    await connection.fetchval(f'select count(*) from "{schema}".runs where run_state = 5', timeout=5)
                )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return 0

    return ended


class _Work:
    """A load under way on one backend."""

    def __init__(self, load: Load, ended: Callable[[], Awaitable[int]], feeding: "asyncio.Task[None]") -> None:
        self.load, self._ended, self._feeding = load, ended, feeding

    async def share(self, share: float) -> None:
        """Wait until so much of it is done."""
        await self.load.ended(self._ended, at_least=int(self.load.count * share), within=60)

    async def goes_on(self) -> None:
        """Start one more run, and wait until it has ended."""
        async with asyncio.timeout(SOON):
            run_id = await self.load.trigger(self.load.count)
            self.load.count += 1

            async def has_ended() -> bool:
                return (await persistent(lambda: self.load.wf.get(run_id))).run_state is RunState.COMPLETED

            await until(has_ended)

    async def finish(self) -> None:
        await self._feeding
        assert len(self.load.acknowledged) == self.load.count
        await self.load.ended(self._ended, within=90)
        await self.load.judge()


@asynccontextmanager
async def _work(
    backend: PostgresBackend, ended: Callable[[], Awaitable[int]], *, count: int, steps: int = 3
) -> AsyncIterator[_Work]:
    async with backend, declare(parallel_count=2, steps=steps).build(backend).running() as wf:
        load = Load(wf, backend.record_store, count)
        feeding = asyncio.create_task(load.feed())
        try:
            yield _Work(load, ended, feeding)
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)


def _said(caplog: pytest.LogCaptureFixture, *texts: str) -> None:
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("workflow")]
    for text in texts:
        assert any(text in message for message in messages), f"nobody logged {text!r}: {messages[:20]}"


@pytest.mark.timeout(240)
async def test_the_server_crashes_twice_in_the_middle_of_10_000_runs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "workflow")
    async with cluster() as server:
        backend = PostgresBackend(server.url, schema="crash", lease_time=timedelta(seconds=3))
        async with _work(backend, _counter(server.url, "crash"), count=10_000, steps=1) as work:
            for share in (0.3, 0.6):
                await work.share(share)
                await server.restart()
                await work.goes_on()
            await work.finish()
        _said(caplog, "cannot connect for commits", "changes wait", "not listening for wake-ups")
        async with connected(server.url) as beside:
            names = "select array_agg(application_name) from pg_stat_activity where application_name like 'workflow%'"
            assert await beside.fetchval(names) is None, "no connection is left"


async def test_all_connections_are_terminated_again_and_again(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "workflow")
    async with database.user() as user:
        ended = _counter(database.url, database.schema)
        # So many that work is under way at each of the ten times.
        async with _work(database.backend(user.url), ended, count=6_000) as work:
            await work.share(0.01)
            for _ in range(10):
                await database.beside.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", user.name
                )
                await asyncio.sleep(0.2)
            await work.goes_on()
            await work.finish()
            assert len(await user.connections()) <= 16, "as many as before, at most"
    _said(caplog, "terminating connection due to administrator command")
    assert not [record for record in caplog.records if "failed" in record.getMessage()], "no attempt has failed for it"


async def test_the_server_has_no_connection_left(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """A superuser is not counted, so this is also the test of one who is none."""
    caplog.set_level(logging.WARNING, "workflow")
    async with database.user("nosuperuser") as user:
        await database.beside.execute(f'grant create on database workflow to "{user.name}"')
        ended = _counter(database.url, database.schema)
        async with _work(database.backend(user.url), ended, count=1_000) as work:
            await work.share(0.05)
            await _limit(database, user, 1)
            await asyncio.sleep(1.5)
            await _limit(database, user, -1)
            await work.goes_on()
            await work.finish()
    _said(caplog, "too many connections for role", "cannot connect for")


async def _limit(database: Database, user: User, connections: int) -> None:
    await database.beside.execute(f'alter role "{user.name}" connection limit {connections}')
    await database.beside.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", user.name
    )


@pytest.mark.parametrize("holes", [(TO_SERVER,), (TO_CLIENT,)], ids=lambda holes: holes[0])
async def test_nothing_arrives_in_one_direction(
    database: Database, caplog: pytest.LogCaptureFixture, holes: Sequence[Any]
) -> None:
    """Nobody is told that the connection is gone: only time tells. Meanwhile nobody takes on new work."""
    caplog.set_level(logging.WARNING, "workflow")
    second = timedelta(seconds=1)
    async with database.user() as user, Proxy(user.url) as proxy:
        ended = _counter(database.url, database.schema)
        backend = database.backend(proxy.url, command_timeout=second, lease_time=second)
        async with _work(backend, ended, count=1_000) as work:
            await work.share(0.1)
            proxy.swallowed.update(holes)

            async def roles_are_given_up() -> bool:
                return work.load.wf.states()["outbox-consumer"] is ProcessState.IDLE

            async with asyncio.timeout(SOON):
                await until(roles_are_given_up)
            proxy.swallowed.clear()
            await work.goes_on()
            await work.finish()
            assert set(work.load.wf.states().values()) == {ProcessState.RUNNING}
    _said(caplog, "could not be renewed in time", "changes", "TimeoutError")


async def test_a_workflow_stops_while_the_server_is_away(database: Database) -> None:
    """Nothing goes on trying for ever: what was not written is done again by whoever runs next."""
    second = timedelta(seconds=1)
    async with database.user() as user, Proxy(user.url) as proxy:
        ended = _counter(database.url, database.schema)
        options = {"command_timeout": second, "lease_time": second}
        async with database.backend(proxy.url, **options) as backend:
            wf = declare(parallel_count=2, steps=3).build(backend)
            running = asyncio.create_task(wf.run())
            load = Load(wf, backend.record_store, 5_000)
            feeding = asyncio.create_task(load.feed())
            await load.ended(ended, at_least=1, within=SOON)
            proxy.swallowed.add(TO_SERVER)
            async with asyncio.timeout(25):
                await wf.stop(drain=second)
                await running
            await cancelled(feeding)
            proxy.swallowed.clear()
        load.count = await database.value(f"select count(*) from {database.table('runs')}")
        assert await ended() < load.count < 5_000, "it was in the middle of something"
        async with database.backend(user.url) as backend, declare(steps=3).build(backend).running() as wf:
            await load.ended(ended, within=60)
            load.wf, load.store = wf, backend.record_store
            await load.judge()


async def test_a_slow_network_that_loses_connections_all_the_time(database: Database) -> None:
    async with database.user() as user, Proxy(user.url) as proxy:
        ended = _counter(database.url, database.schema)
        async with _work(database.backend(proxy.url), ended, count=500) as work:
            proxy.latency = 0.003
            await work.share(0.01)
            for turn in itertools.islice(itertools.count(), 60):
                proxy.cut_one(turn * 7)
                await asyncio.sleep(0.05)
            await work.goes_on()
            await work.finish()
