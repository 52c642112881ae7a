"""Never run: what users write must pass mypy --strict and pyright."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Literal, TypeAlias, TypedDict, assert_type

import msgspec
import pydantic

from workflow import (
    Backend,
    Backoff,
    Builder,
    CallbackDecorator,
    Codec,
    ConnectorDecorator,
    ConnectorEvent,
    Count,
    Decision,
    Direction,
    Filter,
    HookDecorator,
    Next,
    OnCommit,
    Options,
    Order,
    OutboxOptions,
    Page,
    ProcessState,
    Run,
    RunFilter,
    RunState,
    StatusCount,
    StepDecorator,
    TimeoutDecorator,
    TimerSpec,
    VersionCause,
    Workflow,
    create_diagram,
    diagram,
)
from workflow.testing import FakeClock, await_timeout_insert, new_testing_run, require, trigger_callback_on, wait_for
from workflow_adapters.memory import MemoryBackend, MemoryConnector
from workflow_adapters.sqlite import SQLiteBackend


class Status(IntEnum):
    A = 1
    B = 2
    C = 3


@dataclass
class Cart:
    total: int = 0


builder = Builder("cart", Cart, Status)
assert_type(builder, Builder[Cart, Status])


@builder.step(Status.A)
async def literal(run: Run[Cart, Status]) -> Literal[Status.B, Status.C] | Decision:
    if run.object.total:
        return Status.B
    if run.attempt > 3:
        return run.cancel("too often")
    return Status.C


@builder.step(Status.B, to=Status.C, options=Options(parallel_count=2))
def plain(run: Run[Cart, Status]) -> Status:
    return Status.C


@builder.callback(Status.A)
async def typed_payload(run: Run[Cart, Status], payload: Cart) -> Literal[Status.B]:
    return Status.B


@builder.callback(Status.A, to=[Status.B, Status.C])
def raw_payload(run: Run[Cart, Status], payload: bytes) -> Status:
    return Status.B


@builder.timeout(Status.A, timedelta(hours=1))
async def expired(run: Run[Cart, Status], now: datetime) -> Literal[Status.C] | Decision:
    return Status.C


async def when(run: Run[Cart, Status], now: datetime) -> datetime | None:
    return now if run.object.total else None


@builder.timeout(Status.A, when)
def late(run: Run[Cart, Status], now: datetime) -> Literal[Status.C]:
    return Status.C


@builder.connector("feed", MemoryConnector())
async def feed(wf: Workflow[Cart, Status], event: ConnectorEvent) -> None:
    await wf.trigger(event.foreign_id, Cart(total=1))


@builder.on_complete
async def told(run: Run[Cart, Status]) -> None:
    assert_type(run.object, Cart)


Onward: TypeAlias = Literal[Status.B, Status.C]


@builder.step(Status.C)
async def through_a_variable(run: Run[Cart, Status]) -> Onward | Decision:
    onward: Onward = Status.B if run.object.total else Status.C
    if run.run_state is RunState.PAUSED:
        return run.save_and_repeat()
    return onward


def imperative(run: Run[Cart, Status]) -> Literal[Status.C]:
    run.object = Cart(total=run.object.total + 1)
    return Status.C


assert_type(builder.step(Status.B)(imperative)(new_testing_run(Status.B, Cart())), Status | Decision)
builder.step(Status.B, to={Status.C})(lambda run: Status.C)
builder.step(Status.B, to=(Status.C, Status.B))(lambda run: run.pause("why"))


class Service:
    """Handlers that are methods."""

    async def step(self, run: Run[Cart, Status]) -> Literal[Status.B]:
        return Status.B

    def callback(self, run: Run[Cart, Status], payload: dict[str, int]) -> Decision:
        return run.skip()


service = Service()
builder.step(Status.A)(service.step)
builder.callback(Status.A)(service.callback)


class Payload(msgspec.Struct):
    amount: int


class Model(pydantic.BaseModel):
    amount: int


@builder.callback(Status.A)
async def struct_payload(run: Run[Cart, Status], payload: Payload) -> Literal[Status.B] | Decision:
    assert_type(payload.amount, int)
    return Status.B


@builder.callback(Status.A)
def model_payload(run: Run[Cart, Status], payload: Model) -> Literal[Status.B]:
    return Status.B


@builder.callback(Status.A)
async def list_payload(run: Run[Cart, Status], payload: list[Payload] | None) -> Decision:
    return run.cancel()


@builder.timeout(Status.A, datetime(2030, 1, 1, tzinfo=UTC), to=Status.C, options=Options(pause_after_err_count=3))
def at_a_moment(run: Run[Cart, Status], now: datetime) -> Status | Decision:
    return Status.C if run.object.total else run.skip()


@builder.timeout(Status.A, lambda run, now: now + timedelta(days=run.object.total))
async def by_a_lambda(run: Run[Cart, Status], now: datetime) -> Literal[Status.C]:
    return Status.C


@builder.connector("other feed", MemoryConnector(), options=Options(consume_lag=timedelta(minutes=1)))
def plain_feed(wf: Workflow[Cart, Status], event: ConnectorEvent) -> None:
    print(event.foreign_id, event.type, event.headers)


@builder.on_pause
def paused(run: Run[Cart, Status]) -> None:
    print(run.meta.run_state_reason, run.last_error)


@builder.on_cancel
async def cancelled(run: Run[Cart, Status]) -> None:
    assert_type(run.status, Status)


async def open_for_business() -> bool:
    return True


builder.schedule("nightly", "@daily")
builder.schedule("weekly", "0 9 * * mon", timezone="Europe/London", initial_value=Cart(), filter=open_for_business)
builder.schedule("hourly", "@hourly", filter=lambda: True)


class Keys(TypedDict, total=False):
    name: str


assert_type(Builder("keys", Keys, Status), Builder[Keys, Status])
assert_type(Builder("model", Model, Status), Builder[Model, Status])
assert_type(Builder("number", int, Status), Builder[int, Status])


class Secret(Codec[Cart]):
    """A codec of the user's."""

    def encode(self, value: Cart) -> bytes:
        return str(value.total).encode()

    def decode(self, data: bytes) -> Cart:
        return Cart(int(data))


def keep(cart: Cart) -> Cart:
    return Cart(cart.total)


def everything(backend: Backend) -> Workflow[Cart, Status]:
    return builder.build(
        backend,
        starting_point=[Status.A, Status.B],
        default_options=Options(err_back_off=Backoff(cap=timedelta(minutes=1)), parallel_count=2),
        outbox_options=OutboxOptions(limit=10),
        outbox=True,
        pause_retry=None,
        custom_delete=keep,
        clock=FakeClock(),
        codec=Secret(),
        logger=logging.getLogger("mine"),
        debug=True,
    )


async def verbs(wf: Workflow[Cart, Status]) -> None:
    assert_type(wf.name, str)
    assert_type(wf.states(), dict[str, ProcessState])
    run_id = await wf.trigger("key", starting_point=Status.B, run_id="mine", start_at=datetime.now(UTC))
    assert_type(run_id, str)
    assert_type(await wf.callback("key", Status.A, b"{}", run_id=run_id, actor="me"), Run[Cart, Status])
    for payload in (Payload(1), Model(amount=1), Cart(1), {"amount": 1}, [1, 2], 1, None):
        await wf.callback("key", Status.A, payload)
    await wf.schedule("key", "@every 1h30m", timezone="UTC", initial_value=Cart(), filter=open_for_business)
    for reading in (await wf.get(run_id), await wf.latest("key")):
        assert_type(reading, Run[Cart, Status])
        assert_type(reading.object, Cart)
        assert_type((reading.version, reading.attempt), tuple[int, int])
        assert_type(reading.idempotency_key, str)
        assert_type(reading.created_at, datetime)
        assert_type((reading.meta.cause, reading.meta.actor), tuple[VersionCause, str])
    assert_type(await wf.history(run_id, after=2, limit=10), Sequence[Run[Cart, Status]])
    assert_type(await wf.pause(run_id, "why", actor="me", version=3), Run[Cart, Status])
    assert_type(await wf.resume(run_id), Run[Cart, Status])
    assert_type(await wf.cancel(run_id, reason="why"), Run[Cart, Status])
    assert_type(await wf.delete_data(run_id, actor="me"), Run[Cart, Status])
    assert_type(await wf.wait_for("key", {Status.A, Status.B}), Run[Cart, Status])
    assert_type(await wf.wait_until_finished("key", timeout=timedelta(seconds=1)), Run[Cart, Status])
    await wf.stop(drain=timedelta(seconds=1))
    await wf.run()
    assert_type(diagram(wf, Direction.TOP_TO_BOTTOM), str)
    create_diagram(wf, "workflow.md")


async def questions(wf: Workflow[Cart, Status]) -> None:
    page = await wf.list(
        foreign_ids=["key"],
        foreign_id_prefix="k",
        statuses=(Status.A,),
        run_states=[RunState.PAUSED],
        created_after=datetime.now(UTC),
        updated_before=None,
        failing=True,
        order=Order.DESCENDING,
        offset=1,
        limit=2,
    )
    assert_type(page, Page[Run[Cart, Status]])
    assert_type(page.next, str | None)
    assert_type(page[0], Run[Cart, Status])
    conditions: RunFilter[Status] = {"statuses": [Status.A, Status.B], "failing": True}
    await wf.list(**conditions, cursor=page.next)
    count = await wf.count(**conditions, cap=100)
    assert_type((count.value, count.capped), tuple[int, bool])
    assert_type(await wf.count(), Count)
    counts = await wf.counts()
    assert_type(counts, Mapping[Status, StatusCount])
    assert_type(counts[Status.A].live, int)


async def write(connection: sqlite3.Connection) -> None:
    connection.execute("insert into payments values (1)")


def in_the_transaction(run: Run[Cart, Status]) -> None:
    on_commit: OnCommit = write
    run.on_commit(on_commit)
    run.on_commit(lambda connection: connection.execute("insert into payments values (1)"))


async def in_a_test(wf: Workflow[Cart, Status]) -> None:
    run = await require(wf, "key", Status.B, Cart())
    assert_type(run, Run[Cart, Status])
    assert_type(await wait_for(wf, "key", lambda run: run.object.total > 1), Run[Cart, Status])
    await trigger_callback_on(wf, "key", run.run_id, Status.B, {"any": "payload"})
    await await_timeout_insert(wf, "key", run.run_id, Status.B)
    assert_type(plain(run), Status | Decision)
    assert_type(await struct_payload(run, Payload(1)), Status | Decision)


def keeps_its_kind(handler: Callable[[Run[Cart, Status]], Coroutine[Any, Any, Next[Status]]]) -> None:
    """An async handler is still one after it was decorated."""


keeps_its_kind(literal)


def without_a_loop(run: Run[Cart, Status], wf: Workflow[Cart, Status], event: ConnectorEvent) -> None:
    """Async handlers of every kind come back as coroutine functions: asyncio.run takes what they give."""
    assert_type(asyncio.run(literal(run)), Status | Decision)
    assert_type(asyncio.run(typed_payload(run, Cart())), Status | Decision)
    assert_type(asyncio.run(expired(run, datetime.now(UTC))), Status | Decision)
    asyncio.run(feed(wf, event))
    asyncio.run(told(run))
    assert_type(plain(run), Status | Decision)


# The types that users write in their own signatures.
Step: TypeAlias = StepDecorator[Cart, Status]
Answer: TypeAlias = CallbackDecorator[Cart, Status]
Expiry: TypeAlias = TimeoutDecorator[Cart, Status]
Intake: TypeAlias = ConnectorDecorator[Cart, Status]
Hook: TypeAlias = HookDecorator[Cart, Status]


def decorators(step: Step, answer: Answer, expiry: Expiry, intake: Intake, hook: Hook) -> None:
    step(plain)
    answer(raw_payload)
    expiry(late)
    intake(feed)
    hook(told)


def declares(on: Builder[Cart, Status], timer: TimerSpec[Cart, Status], asks: Filter) -> Step:
    on.timeout(Status.A, timer, to=Status.C)(lambda run, now: Status.C)
    on.schedule("key", "@daily", filter=asks)
    return on.step(Status.A, to=Status.B)


def onward(run: Run[Cart, Status]) -> Next[Status]:
    return Status.B if run.object.total else run.skip()


declares(builder, timedelta(hours=1), open_for_business)(onward)
declares(builder, when, lambda: True)


async def main() -> None:
    wf = builder.build(MemoryBackend())
    assert_type(wf, Workflow[Cart, Status])
    async with wf.running() as running:
        assert_type(running, Workflow[Cart, Status])
        run_id: str = await running.trigger("cart-1", Cart())
        run = await running.wait_for("cart-1", Status.C, run_id=run_id, timeout=timedelta(seconds=1))
        assert_type(run.status, Status)
        runs: Sequence[Run[Cart, Status]] = await running.list(statuses=[Status.A])
        assert_type(await literal(runs[0]), Status | Decision)
    async with SQLiteBackend("runs.db") as durable:
        await verbs(everything(durable))


asyncio.run(main())
