"""Engines to test parts with: a small workflow on the memory backend, and its runs."""

from datetime import timedelta
from enum import IntEnum
from typing import Any

import msgspec

from workflow import Builder, Options, Run
from workflow._engine.engine import Engine
from workflow._model.record import Record, VersionCause
from workflow.protocols import Backend
from workflow_adapters.memory import MemoryBackend


class Status(IntEnum):
    A = 1
    B = 2
    C = 3


class Thing(msgspec.Struct):
    count: int = 0
    text: str = ""


async def to_b(run: Run[Thing, Status]) -> Status:
    run.object.count += 1
    return Status.B


def declared(name: str = "unit") -> Builder[Thing, Status]:
    """A step at A that leads to B, and a callback at B that leads to C."""
    builder = Builder(name, Thing, Status)
    builder.step(Status.A, to=Status.B)(to_b)
    builder.callback(Status.B, to=Status.C)(lambda run, payload: Status.C)
    return builder


def engine(
    backend: Backend | None = None, *, options: Options | None = None, name: str = "unit", **arguments: Any
) -> Engine:
    """The engine of that workflow. Its failed attempts wait for no time."""
    options = options or Options(err_back_off=timedelta(0))
    return declared(name).build(backend or MemoryBackend(), default_options=options, **arguments)._engine


async def first_record(engine: Engine, run_id: str = "run", *, foreign_id: str | None = None, **fields: Any) -> Record:
    """A new run at A, as the store has it."""
    first = engine.transitions.triggered(
        foreign_id=foreign_id or f"key of {run_id}",
        run_id=run_id,
        status=1,
        data=engine.encode(Thing(**fields), run_id),
        stamp=engine.stamp(VersionCause.TRIGGER, attempt_id=run_id),
        start_at=None,
        trace_origin="",
        trace_context={},
    )
    assert (await engine.commits.apply(first)).ok
    return first.record
