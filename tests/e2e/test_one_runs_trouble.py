"""A function of the user's that raises what is no Exception is one run's trouble: the attempt failed, the rest goes on.

`tests/unit/engine/test_invoker.py` has the same for the call itself, and steps, callbacks and timeouts are in
`test_misbehaving_handlers.py`. Here are all other places in which a user's function runs.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, InvalidObject, Options, Run, RunState
from workflow.protocols import Codec, ConnectorEvent
from workflow.testing import FakeClock
from workflow_adapters.memory import MemoryBackend, MemoryConnector

OPTIONS = Options(err_back_off=timedelta(milliseconds=5), pause_after_err_count=3)


class Unusual(BaseException):
    """As test frameworks raise."""


ERRORS: list[Callable[[], BaseException]] = [
    lambda: KeyboardInterrupt(),
    lambda: SystemExit(3),
    lambda: Unusual("no"),
    lambda: asyncio.CancelledError("of its own"),
    lambda: GeneratorExit(),
]
troubles = pytest.mark.parametrize(
    "trouble", ERRORS, ids=["KeyboardInterrupt", "SystemExit", "BaseException", "CancelledError", "GeneratorExit"]
)
kinds = pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])


def raising(trouble: Callable[[], BaseException], plain: bool, then: Any, times: int = 2) -> Callable[..., Any]:
    """A function of any arguments that raises so many times for each first argument, and then returns `then`."""
    calls: dict[str, int] = defaultdict(int)

    def call(*arguments: Any) -> Any:
        key = str(getattr(arguments[-1], "foreign_id", getattr(arguments[0], "foreign_id", ""))) if arguments else ""
        calls[key] += 1
        if calls[key] <= times and "healthy" not in key:
            raise trouble()
        return then() if callable(then) else then

    async def call_async(*arguments: Any) -> Any:
        return call(*arguments)

    return call if plain else call_async


def moving(name: str) -> Builder[Thing, Status]:
    builder = Builder(name, Thing, Status)

    @builder.step(Status.A)
    async def move(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    return builder


async def reached(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while not await condition():
            await asyncio.sleep(0.005)


@troubles
@kinds
async def test_a_hook(trouble: Callable[[], BaseException], plain: bool) -> None:
    builder = moving("hook")
    done: list[str] = []
    fails = raising(trouble, True, None)

    def hook(run: Run[Thing, Status]) -> None:
        fails(run)
        done.append(run.foreign_id)

    async def hook_async(run: Run[Thing, Status]) -> None:
        hook(run)

    builder.on_complete(hook if plain else hook_async)
    wf = builder.build(MemoryBackend(), default_options=OPTIONS)
    async with wf.running():
        await wf.trigger("unlucky")
        await wf.trigger("healthy")

        async def both() -> bool:
            return sorted(done) == ["healthy", "unlucky"]

        await reached(both)


@troubles
@kinds
async def test_the_filter_of_a_schedule(trouble: Callable[[], BaseException], plain: bool) -> None:
    builder = moving("filter")
    builder.schedule("unlucky", "@every 1h", filter=raising(trouble, plain, True))
    clock = FakeClock()
    wf = builder.build(MemoryBackend(), default_options=OPTIONS, clock=clock)
    async with wf.running():
        await wf.trigger("healthy")
        await wf.wait_for("healthy", Status.B, timeout=PATIENCE)
        clock.advance(timedelta(hours=1))

        async def fired() -> bool:
            return len(await wf.list(foreign_ids=["unlucky"])) == 1

        await reached(fired)
        await wf.trigger("healthy too")
        await wf.wait_for("healthy too", Status.B, timeout=PATIENCE)


@troubles
@kinds
async def test_a_timer_function(trouble: Callable[[], BaseException], plain: bool) -> None:
    builder = Builder("timer", Thing, Status)
    soon = datetime(2025, 1, 1, tzinfo=UTC)

    def timer(run: Run[Thing, Status], now: datetime) -> datetime:
        fails(run)
        return soon

    async def timer_async(run: Run[Thing, Status], now: datetime) -> datetime:
        return timer(run, now)

    fails = raising(trouble, True, None)

    @builder.timeout(Status.A, timer if plain else timer_async)
    async def fire(run: Run[Thing, Status], now: datetime) -> Literal[Status.B]:
        return Status.B

    wf = builder.build(MemoryBackend(), default_options=OPTIONS)
    async with wf.running():
        await wf.trigger("unlucky")
        await wf.trigger("healthy")
        for foreign_id in ("unlucky", "healthy"):
            await wf.wait_for(foreign_id, Status.B, timeout=PATIENCE)


@troubles
@kinds
async def test_a_timer_function_that_never_succeeds_pauses_its_run(
    trouble: Callable[[], BaseException], plain: bool
) -> None:
    builder = Builder("timer", Thing, Status)
    builder.timeout(Status.A, raising(trouble, plain, None, times=100), to=Status.B)(lambda run, now: Status.B)
    wf = builder.build(MemoryBackend(), default_options=OPTIONS)
    async with wf.running():
        run_id = await wf.trigger("unlucky")

        async def paused() -> bool:
            return (await wf.get(run_id)).run_state is RunState.PAUSED

        await reached(paused)


@troubles
@kinds
async def test_custom_delete(trouble: Callable[[], BaseException], plain: bool) -> None:
    builder = moving("erasing")
    wf = builder.build(
        MemoryBackend(), default_options=OPTIONS, custom_delete=raising(trouble, plain, lambda: Thing(text="erased"))
    )
    async with wf.running():
        run_id = await wf.trigger("unlucky")
        await wf.wait_for("unlucky", Status.B, timeout=PATIENCE)
        await wf.delete_data(run_id)

        async def erased() -> bool:
            return (await wf.get(run_id)).run_state is RunState.DATA_DELETED

        await reached(erased)
        run = await wf.get(run_id)
        assert run.object.text == "erased"


@troubles
@kinds
async def test_a_connector_function(trouble: Callable[[], BaseException], plain: bool) -> None:
    builder = moving("connected")
    source = MemoryConnector()
    done: list[str] = []
    fails = raising(trouble, True, None)

    def feed(api: Any, event: ConnectorEvent) -> None:
        fails(event)
        done.append(event.foreign_id)

    async def feed_async(api: Any, event: ConnectorEvent) -> None:
        feed(api, event)

    builder.connector("source", source)(feed if plain else feed_async)
    wf = builder.build(MemoryBackend(), default_options=Options(err_back_off=timedelta(milliseconds=5)))
    async with wf.running():
        for foreign_id in ("unlucky", "healthy"):
            source.append(ConnectorEvent(id=foreign_id, foreign_id=foreign_id, created_at=datetime.now(UTC)))

        async def both() -> bool:
            return sorted(done) == ["healthy", "unlucky"]

        await reached(both)


class Moody(Codec[Thing]):
    """Raises for objects that say so, when it writes or when it reads."""

    def __init__(self, trouble: Callable[[], BaseException]) -> None:
        self.trouble = trouble

    def encode(self, value: Thing) -> bytes:
        if value.text == "not written":
            raise self.trouble()
        return msgspec.json.encode(value)

    def decode(self, data: bytes) -> Thing:
        value = msgspec.json.decode(data, type=Thing)
        if value.text == "not read":
            raise self.trouble()
        return value


@troubles
async def test_a_codec_that_cannot_write(trouble: Callable[[], BaseException]) -> None:
    builder = Builder("codec", Thing, Status)

    @builder.step(Status.A)
    async def move(run: Run[Thing, Status]) -> Literal[Status.B]:
        if run.foreign_id == "unlucky":
            run.object.text = "not written"
        return Status.B

    wf = builder.build(MemoryBackend(), default_options=OPTIONS, codec=Moody(trouble))
    async with wf.running():
        unlucky = await wf.trigger("unlucky")
        await wf.trigger("healthy")
        await wf.wait_for("healthy", Status.B, timeout=PATIENCE)

        async def paused() -> bool:
            return (await wf.get(unlucky)).run_state is RunState.PAUSED

        await reached(paused)
        run = await wf.get(unlucky)
        assert run.attempt == 3
        assert "cannot be encoded" in run.last_error
        with pytest.raises(InvalidObject, match="cannot be encoded"):
            await wf.trigger("another", Thing(text="not written"))


@troubles
async def test_a_codec_that_cannot_read(trouble: Callable[[], BaseException]) -> None:
    builder = moving("codec")
    codec = Moody(trouble)
    backend = MemoryBackend()
    wf = builder.build(backend, default_options=OPTIONS, codec=codec)
    moody, codec.decode = codec.decode, lambda data: msgspec.json.decode(data, type=Thing)  # type: ignore[method-assign]
    unlucky = await wf.trigger("unlucky", Thing(text="not read"))
    codec.decode = moody  # type: ignore[method-assign]
    async with wf.running():
        await wf.trigger("healthy")
        await wf.wait_for("healthy", Status.B, timeout=PATIENCE)

        async def paused() -> bool:
            return (await wf.get(unlucky)).run_state is RunState.PAUSED

        await reached(paused)
        with pytest.raises(InvalidObject, match="cannot be decoded"):
            _ = (await wf.get(unlucky)).object
