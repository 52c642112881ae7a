"""Never run: each line marked with an error must be rejected by mypy --strict and by pyright."""

import asyncio
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Literal

from workflow import Builder, ConnectorEvent, Decision, Next, Options, Run, RunFilter, Workflow
from workflow.testing import new_testing_run
from workflow_adapters.memory import MemoryBackend, MemoryConnector


class Status(IntEnum):
    A = 1
    B = 2
    C = 3


class Other(IntEnum):
    A = 1


class Cart:
    total: int = 0


class Basket:
    pass


builder = Builder("cart", Cart, Status)


@builder.step(Status.A)
async def not_in_the_graph(run: Run[Cart, Status]) -> Literal[Status.B]:
    return Status.C  # error: the annotation allows B only


@builder.step(Other.A)  # error: another enum
async def of_another_enum(run: Run[Cart, Status]) -> Literal[Status.B]:
    return Status.B


@builder.step(Status.B)  # error: another object
async def of_another_object(run: Run[Basket, Status]) -> Literal[Status.C]:
    return Status.C


@builder.step(Status.B)  # error: returns no status
async def of_no_status(run: Run[Cart, Status]) -> str:
    return "C"


@builder.timeout(Status.A, timedelta(hours=1))  # error: a timeout is handed the moment
async def without_the_moment(run: Run[Cart, Status]) -> Literal[Status.B]:
    return Status.B


@builder.timeout(Status.A, 3600)  # error: seconds without a unit
async def after_a_number(run: Run[Cart, Status], now: datetime) -> Literal[Status.B]:
    return Status.B


@builder.step(Status.C)
async def forgotten_return(run: Run[Cart, Status]) -> Literal[Status.B]:  # error: a branch returns nothing
    if run.object.total:
        return Status.B


@builder.step(Status.A)
async def from_a_variable(run: Run[Cart, Status]) -> Literal[Status.B] | Decision:
    wanted = Status.C if run.object.total else Status.B
    print(wanted)
    return wanted  # error: may be C


@builder.step(Status.A, to=Other.A)  # error: leads to another enum
async def to_another_enum(run: Run[Cart, Status]) -> Status:
    return Status.B


@builder.step(Status.A, to="B")  # error: a name is no status
async def to_a_name(run: Run[Cart, Status]) -> Status:
    return Status.B


@builder.step(Status.A, options=5)  # error: options are Options
async def with_a_number(run: Run[Cart, Status]) -> Literal[Status.B]:
    return Status.B


@builder.callback(Status.A)  # error: a callback is handed the payload
async def without_the_payload(run: Run[Cart, Status]) -> Literal[Status.B]:
    return Status.B


@builder.callback(Status.A)
async def with_a_typed_payload(run: Run[Cart, Status], payload: Basket) -> Literal[Status.B]:
    print(payload.weight)  # error: a Basket has none
    return Status.B


@builder.connector("feed", MemoryConnector())  # error: a connector is handed workflow and event
async def without_the_event(wf: Workflow[Cart, Status]) -> None:
    return None


@builder.connector("feed", "kafka")  # error: a source is no name
async def from_a_name(wf: Workflow[Cart, Status], event: ConnectorEvent) -> None:
    return None


@builder.on_complete  # error: a hook of another object
async def of_a_basket(run: Run[Basket, Status]) -> None:
    return None


@builder.on_pause  # error: a hook decides nothing
async def that_decides(run: Run[Cart, Status]) -> Status:
    return Status.B


@builder.step(Status.A, to=Status.B)
def plain_step(run: Run[Cart, Status]) -> Status:
    return Status.B


builder.schedule("key", "@hourly", initial_value=Basket())  # error: another object
builder.schedule("key", "@hourly", filter=lambda: "yes")  # error: a filter says True or False
builder.build(MemoryBackend(), starting_point=Other.A)  # error: another enum
builder.build(MemoryBackend(), pause_retry=3600)  # error: seconds without a unit
builder.build(None)  # error: no backend
Options(timeout=5)  # error: seconds without a unit
Options(2)  # error: by keyword only
Builder("cart", Cart, int)  # error: no enum of statuses


FILTER: RunFilter[Status] = {"statuses": [Other.A]}  # error: another enum
UNKNOWN: RunFilter[Status] = {"limit": 5}  # error: there is no such condition
NEXT: Next[Status] = Other.A  # error: another enum
asyncio.run(plain_step(new_testing_run(Status.A, Cart())))  # error: a plain function gives no coroutine


async def verbs(wf: Workflow[Cart, Status]) -> None:
    await wf.callback("cart-1", Other.A)  # error: another enum
    await wf.trigger("cart-1", starting_point=Other.A)  # error: another enum
    await wf.trigger(1)  # error: a foreign ID is text
    await wf.wait_for("cart-1", Status.A, timeout=5)  # error: seconds without a unit
    await wf.stop(5)  # error: seconds without a unit
    await wf.wait_for("cart-1", [Other.A])  # error: another enum
    await wf.list(statuses=[Other.A])  # error: another enum
    await wf.list(status=Status.A)  # error: there is no such condition
    await wf.list(foreign_ids=[1])  # error: a foreign ID is text
    await wf.list(run_states=["Paused"])  # error: a name is no run state
    await wf.list(failing="yes")  # error: failing is True or False
    await wf.count(limit=5)  # error: a count has no pages
    await wf.count(created_after=5)  # error: no moment
    await wf.pause("run", actor=5)  # error: an actor is text
    await wf.pause("run", "why", "me")  # error: by keyword only
    await wf.cancel("run", version="3")  # error: a version is a number
    await wf.schedule("key", "@hourly", filter=lambda: "yes")  # error: a filter says True or False
    await wf.schedule("key", "@hourly", filter=lambda run: True)  # error: a filter is handed nothing
    run = await wf.get("run")
    run.object = Basket()  # error: another object
    run.status = Status.B  # error: cannot be set
    run.attempt = 9  # error: cannot be set
    run.last_error = ""  # error: cannot be set
    run.version = 2  # error: cannot be set
    run.on_commit(lambda a, b, c: 3)  # error: called with the connection alone
    run.on_commit(lambda: None)  # error: called with the connection
    print(run.object.weight)  # error: a Cart has none


async def main() -> None:
    wf = builder.build(MemoryBackend())
    await wf.trigger("cart-1", Basket())  # error: another object
    await wf.wait_for("cart-1", Other.A)  # error: another enum
