"""Handlers in every shape, the ways to name destinations, and what a Run tells and takes."""

from __future__ import annotations

import functools
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import (
    Builder,
    BuildError,
    Decision,
    Run,
)
from workflow_adapters.memory import MemoryBackend

R: TypeAlias = Run[Thing, Status]
Onward: TypeAlias = Literal[Status.B, Status.C]


async def by_string(run: R) -> Literal[Status.B]:
    return Status.B


async def by_alias(run: R) -> Onward | Decision:
    return Status.B


async def with_more(extra: int, run: R) -> Literal[Status.B]:
    run.object.count = extra
    return Status.B


def in_a_thread(run: R) -> Literal[Status.B]:
    assert threading.current_thread() is not threading.main_thread()
    return Status.B


class Steps:
    """Handlers that belong to an object."""

    async def bound(self, run: R) -> Literal[Status.B]:
        return Status.B

    def __call__(self, run: R) -> Literal[Status.B]:
        return Status.B


class AsyncCallable:
    """A callable object whose call is a coroutine."""

    async def __call__(self, run: R) -> Literal[Status.B]:
        return Status.B


def traced(fn: Callable[[R], Awaitable[Any]]) -> Callable[[R], Awaitable[Any]]:
    """A decorator as users write them: plain, around an async function."""

    @functools.wraps(fn)
    def call(run: R) -> Awaitable[Any]:
        return fn(run)

    return call


HANDLERS: dict[str, Any] = {
    "string annotation": by_string,
    "alias": by_alias,
    "partial": functools.partial(with_more, 3),
    "bound method": Steps().bound,
    "callable object": Steps(),
    "async callable object": AsyncCallable(),
    "decorated": traced(by_string),
    "plain function": in_a_thread,
    "partial of a plain function": functools.partial(in_a_thread),
}


@pytest.mark.parametrize("name", [*HANDLERS])
async def test_destinations_are_read_from_a_handler_of_any_shape_and_it_runs(name: str) -> None:
    builder = Builder("shapes", Thing, Status)
    builder.step(Status.A)(HANDLERS[name])
    if "alias" in name:
        builder.step(Status.B, to=Status.C)(lambda run: Status.C)
    wf = builder.build(MemoryBackend())
    async with wf.running():
        await wf.trigger("key")
        run = await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert not run.last_error


async def test_names_of_the_enclosing_function_are_known() -> None:
    """An enum of a closure, in annotations that are strings."""
    from enum import IntEnum

    class Local(IntEnum):
        ON = 1
        OFF = 0

    builder = Builder("closure", Thing, Local)

    @builder.step(Local.ON)
    async def switch(run: Run[Thing, Local]) -> Literal[Local.OFF]:
        return Local.OFF

    wf = builder.build(MemoryBackend())
    async with wf.running():
        await wf.trigger("key")
        assert (await wf.wait_for("key", Local.OFF, timeout=PATIENCE)).status is Local.OFF


@pytest.mark.parametrize(
    "to",
    [Status.B, [Status.B], (Status.B,), {Status.B}, iter([Status.B]), [Status.B, Status.B]],
    ids=["status", "list", "tuple", "set", "iterator", "twice"],
)
async def test_destinations_may_be_one_status_or_any_iterable(to: Any) -> None:
    builder = Builder("to", Thing, Status)
    builder.step(Status.A, to=to)(lambda run: Status.B)
    wf = builder.build(MemoryBackend())
    async with wf.running():
        await wf.trigger("key")
        await wf.wait_for("key", Status.B, timeout=PATIENCE)


def test_destinations_given_twice_must_agree() -> None:
    builder = Builder("twice", Thing, Status)
    builder.step(Status.A, to=[Status.C, Status.B])(by_alias)
    builder.step(Status.B, to=Status.D)(by_string)
    with pytest.raises(BuildError) as caught:
        builder.build(MemoryBackend())
    assert len(caught.value.problems) == 1, caught.value.problems
    assert "step(<Status.B: 2>)" in caught.value.problems[0]
