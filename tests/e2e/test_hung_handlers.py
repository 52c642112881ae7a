"""A handler that never ends is seen: in the lag, in the age of the oldest handler, and once in the log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import pytest
from prometheus_client import CollectorRegistry

from tests.e2e.model import Status, Thing
from tests.e2e.virtual import clock, virtually
from workflow import Builder, ConnectorEvent, Options, Run, Workflow
from workflow._engine.in_flight import LONG
from workflow_adapters.memory import MemoryBackend, MemoryConnector

Flow = Workflow[Thing, Status]


class Case(NamedTuple):
    """How a kind of handler is declared so that it hangs for the run "hangs", and which process calls it."""

    process: str
    declare: Callable[[Builder[Thing, Status], Callable[[str], Awaitable[None]]], None]
    start: Callable[[Flow, str], Awaitable[object]]


async def triggered(wf: Flow, foreign_id: str) -> object:
    return await wf.trigger(foreign_id)


async def cancelled(wf: Flow, foreign_id: str) -> object:
    return await wf.cancel(await wf.trigger(foreign_id))


async def deleted(wf: Flow, foreign_id: str) -> object:
    run_id = await wf.trigger(foreign_id)
    await wf.cancel(run_id)
    return await wf.delete_data(run_id)


async def fed(wf: Flow, foreign_id: str) -> object:
    return None


def step(builder: Builder[Thing, Status], handle: Callable[[str], Awaitable[None]]) -> None:
    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        await handle(run.foreign_id)
        return Status.B


def timeout(builder: Builder[Thing, Status], handle: Callable[[str], Awaitable[None]]) -> None:
    @builder.timeout(Status.A, timedelta(seconds=1))
    async def work(run: Run[Thing, Status], now: datetime) -> Literal[Status.B]:
        await handle(run.foreign_id)
        return Status.B


def timer(builder: Builder[Thing, Status], handle: Callable[[str], Awaitable[None]]) -> None:
    async def due(run: Run[Thing, Status], now: datetime) -> datetime | None:
        await handle(run.foreign_id)
        return None

    @builder.timeout(Status.A, due)
    async def work(run: Run[Thing, Status], now: datetime) -> Literal[Status.B]:
        return Status.B


def hook(builder: Builder[Thing, Status], handle: Callable[[str], Awaitable[None]]) -> None:
    callback(builder)

    @builder.on_cancel
    async def tell(run: Run[Thing, Status]) -> None:
        await handle(run.foreign_id)


def erasure(builder: Builder[Thing, Status], handle: Callable[[str], Awaitable[None]]) -> None:
    callback(builder)


def connector(builder: Builder[Thing, Status], handle: Callable[[str], Awaitable[None]]) -> None:
    callback(builder)
    source = MemoryConnector([ConnectorEvent(id="hangs", foreign_id="hangs", created_at=clock().now())])

    @builder.connector("feed", source)
    async def take(wf: Flow, event: ConnectorEvent) -> None:
        await handle(event.foreign_id)


def callback(builder: Builder[Thing, Status]) -> None:
    @builder.callback(Status.A)
    async def answer(run: Run[Thing, Status], payload: bytes) -> Literal[Status.B]:
        return Status.B


CASES = {
    "step": Case("a-consumer-1-of-1", step, triggered),
    "timeout": Case("a-timeout-consumer", timeout, triggered),
    "timer": Case("a-timeout-auto-inserter-consumer", timer, triggered),
    "hook": Case("cancelled-run-state-change-hook-consumer", hook, cancelled),
    "erasure": Case("delete-consumer", erasure, deleted),
    "connector": Case("feed-connector-to-hung-consumer-1-of-1", connector, fed),
}


class Told:
    """What one process tells its metrics."""

    def __init__(self, registry: CollectorRegistry, process: str) -> None:
        self._registry, self._labels = registry, {"workflow_name": "hung", "process_name": process}

    def __call__(self, name: str) -> float:
        value = self._registry.get_sample_value(f"workflow_process_{name}", self._labels)
        assert value is not None, name
        return value


@pytest.mark.parametrize("kind", CASES)
def test_a_handler_that_never_ends_is_seen(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    case = CASES[kind]
    registry = CollectorRegistry()
    told = Told(registry, case.process)

    async def main() -> None:
        begun, let_go = asyncio.Event(), asyncio.Event()

        async def handle(foreign_id: str) -> None:
            if foreign_id == "hangs":
                begun.set()
                await let_go.wait()

        async def keep(thing: Thing) -> Thing:
            await handle("hangs")
            return thing

        builder = Builder("hung", Thing, Status)
        case.declare(builder, handle)
        options = Options(lag_alert=timedelta(minutes=30))
        backend = MemoryBackend()
        keeping: dict[str, Any] = {"custom_delete": keep} if kind == "erasure" else {}
        wf = builder.build(backend, clock=clock(), registry=registry, default_options=options, **keeping)
        async with wf.running():
            await case.start(wf, "hangs")
            await begun.wait()
            await asyncio.sleep(600)
            # What comes later, and is dealt with, does not hide it.
            if kind in ("step", "timeout", "timer"):
                await wf.trigger("goes on")
                await asyncio.sleep(5)
            assert told("handlers_in_flight") == 1
            assert 600 <= told("oldest_handler_seconds") < 660
            assert 600 <= told("lag_seconds") < 660
            assert told("lag_alert") == 0
            await asyncio.sleep(1500)
            assert told("lag_alert") == 1
            let_go.set()
            await asyncio.sleep(5)
            assert told("handlers_in_flight") == told("oldest_handler_seconds") == told("lag_seconds") == 0
            assert told("lag_alert") == 0

    with caplog.at_level(logging.WARNING, "workflow"):
        virtually(main())
    lines = [line for line in caplog.records if "has been running" in line.message]
    assert [(line.__dict__["process_name"], line.__dict__["workflow"]) for line in lines] == [(case.process, "hung")]


def test_a_handler_with_a_longer_time_limit_is_not_reported_before_it(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        builder = Builder("hung", Thing, Status)

        @builder.step(Status.A, options=Options(timeout=timedelta(seconds=4 * LONG)))
        async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
            await asyncio.sleep(3 * LONG)
            return Status.B

        wf = builder.build(MemoryBackend(), clock=clock())
        async with wf.running():
            await wf.trigger("long")
            await asyncio.sleep(3 * LONG + 5)
            assert (await wf.latest("long")).status is Status.B

    with caplog.at_level(logging.WARNING, "workflow"):
        virtually(main())
    assert not [line for line in caplog.records if "has been running" in line.message]


def test_an_event_that_waits_for_a_slot_is_late_too() -> None:
    """Runs queue up behind one that hangs: the oldest of them counts, not the one that came last."""
    registry = CollectorRegistry()
    told = Told(registry, "a-consumer-1-of-1")

    async def main() -> None:
        builder = Builder("hung", Thing, Status)
        let_go = asyncio.Event()

        @builder.step(Status.A)
        async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
            if run.foreign_id == "first":
                await asyncio.sleep(100)
            else:
                await let_go.wait()
            return Status.B

        options = Options(max_in_flight=1)
        wf = builder.build(MemoryBackend(), clock=clock(), registry=registry, default_options=options)
        async with wf.running():
            await wf.trigger("first")
            await asyncio.sleep(50)
            await wf.trigger("second")
            await asyncio.sleep(60)
            await wf.trigger("third")
            await asyncio.sleep(10)
            # The second has been handled for 20 seconds, but is there for 70.
            assert 69 < told("lag_seconds") < 72
            assert 19 < told("oldest_handler_seconds") < 22
            let_go.set()
            await asyncio.sleep(5)
            assert told("lag_seconds") == 0

    virtually(main())


def test_a_process_that_has_given_up_its_role_is_late_with_nothing() -> None:
    registry = CollectorRegistry()
    told = Told(registry, "a-consumer-1-of-1")

    async def main() -> None:
        builder = Builder("hung", Thing, Status)

        @builder.step(Status.A)
        async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
            await asyncio.Event().wait()
            return Status.B

        wf = builder.build(MemoryBackend(), clock=clock(), registry=registry)
        async with wf.running():
            await wf.trigger("hangs")
            await asyncio.sleep(60)
            assert told("lag_seconds") >= 60
            await wf.stop(timedelta(seconds=1))
        assert told("handlers_in_flight") == told("oldest_handler_seconds") == told("lag_seconds") == 0

    virtually(main())
