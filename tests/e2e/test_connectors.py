"""Connectors: every event of a foreign stream is handled, on any number of shards."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from tests.e2e.sleepers import sleeps_until
from workflow import (
    Builder,
    BuildError,
    ConnectorEvent,
    Options,
    Run,
    Workflow,
)
from workflow.protocols import Backend
from workflow.testing import FakeClock, require
from workflow_adapters.memory import MemoryBackend, MemoryConnector

QUICK = Options(err_back_off=timedelta(milliseconds=10))
HOUR = timedelta(hours=1)


async def test_a_connector_starts_runs_on_every_shard(backend: Backend) -> None:
    """R-CONN-5, W-2b, W-3: with only a default parallel count, no event is lost."""
    now = datetime.now(UTC)
    source = MemoryConnector(
        [ConnectorEvent(id=str(number), foreign_id=f"user {number}", created_at=now) for number in range(40)]
    )
    builder = Builder("fed", Thing, Status)

    @builder.connector("feed", source)
    async def start(wf: Workflow[Thing, Status], event: ConnectorEvent) -> None:
        await wf.trigger(event.foreign_id, Thing(count=int(event.id)), run_id=f"feed-{event.id}")

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    wf = builder.build(backend, default_options=Options(parallel_count=3))
    async with wf.running():
        for number in range(40):
            await require(wf, f"user {number}", Status.B, Thing(count=number), timeout=PATIENCE)


def two_steps(name: str = "two steps", options: Options | None = None) -> Builder[Thing, Status]:
    builder = Builder(name, Thing, Status)

    @builder.step(Status.A, options=options)
    async def first(run: Run[Thing, Status]) -> Literal[Status.B]:
        run.object.text += "A"
        return Status.B

    @builder.step(Status.B)
    async def second(run: Run[Thing, Status]) -> Literal[Status.C]:
        run.object.text += "B"
        return Status.C

    return builder


async def test_connectors_have_as_many_shards_as_a_default_says() -> None:
    """R-PROC-4, R-ROLE-3, W-3."""
    builder = two_steps("Example")
    builder.connector("consume-other-stream", MemoryConnector())(lambda wf, event: None)
    wf = builder.build(MemoryBackend(), default_options=Options(parallel_count=2))
    async with wf.running():
        found = [name for name in wf.states() if "connector" in name]
        assert found == [f"consume-other-stream-connector-to-example-consumer-{shard}-of-2" for shard in (1, 2)]


async def test_a_connector_opens_its_source_again_and_buries_what_never_works(caplog: pytest.LogCaptureFixture) -> None:
    """R-CONN-1, R-CONN-4, R-CONN-6, R-MODEL-16: a sync function too; the others go on."""
    clock = FakeClock()
    events = [
        ConnectorEvent(id=str(n), foreign_id=f"user {n}", type="seen", headers={"n": str(n)}, created_at=clock.now())
        for n in range(3)
    ]
    memory = MemoryBackend()
    builder = two_steps("connected")
    tries: dict[str, int] = {}

    @builder.connector("feed", MemoryConnector(events), options=QUICK)
    async def feed(wf: Workflow[Thing, Status], event: ConnectorEvent) -> None:
        tries[event.id] = tries.get(event.id, 0) + 1
        if event.id == "0" or (event.id == "1" and tries["1"] < 3):
            raise ValueError(event.headers["n"])
        await wf.trigger(event.foreign_id)

    wf = builder.build(memory)
    async with wf.running():
        for key in ("user 1", "user 2"):
            await wf.wait_for(key, Status.C, timeout=PATIENCE)
        async with asyncio.timeout(20):
            while "0" not in tries or tries["0"] < 8:
                await asyncio.sleep(0.01)
    assert tries["1"] == 3
    assert "connector feed failed on event 0" in caplog.text


def failing(name: str, times: int, options: Options | None = None) -> Builder[Thing, Status]:
    """Fails a number of times, then goes on."""
    builder = Builder(name, Thing, Status)
    left = itertools.count()

    @builder.step(Status.A, options=options)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        if next(left) < times:
            raise RuntimeError("not yet")
        return Status.B

    return builder


async def test_a_connector_waits_until_its_events_are_old_enough() -> None:
    """R-OPTTAB-4, R-CONN-4."""
    clock = FakeClock()
    builder = failing("late", 0)
    event = ConnectorEvent(id="1", foreign_id="key", created_at=clock.now())
    called: list[datetime] = []

    @builder.connector("feed", MemoryConnector([event]), options=Options(consume_lag=HOUR))
    async def feed(wf: Workflow[Thing, Status], event: ConnectorEvent) -> None:
        called.append(clock.now())

    wf = builder.build(MemoryBackend(), clock=clock)
    async with wf.running():
        await sleeps_until(clock, event.created_at + HOUR)
        assert not called
        clock.advance(HOUR)
        async with asyncio.timeout(20):
            while not called:
                await asyncio.sleep(0.005)
    assert called == [datetime(2025, 1, 1, 1, tzinfo=UTC)]


async def test_connectors_alone_make_no_workflow() -> None:
    """R-BUILD-12."""
    builder = Builder("only fed", Thing, Status)
    builder.connector("feed", MemoryConnector())(lambda wf, event: None)
    with pytest.raises(BuildError, match="starting point"):
        builder.build(MemoryBackend())


def scheduled() -> Builder[Thing, Status]:
    builder = Builder("scheduled", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    return builder


def test_connectors_that_read_alike_are_refused() -> None:
    """They would share a role and a cursor, so that one of them never runs."""
    builder = scheduled()
    for name in ("Feed one", "feed_one"):
        builder.connector(name, MemoryConnector())(lambda wf, event: None)
    with pytest.raises(BuildError, match="feed_one"):
        builder.build(MemoryBackend())
