"""Declared handlers: the user's functions, with the facts that the engine needs about them.

`Handler` wraps one function, sync or async; the other classes say where it is used. They are made by the builder and
never change afterwards.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from ..options import Options
from ..protocols import ConnectorSource

Filter: TypeAlias = Callable[[], Awaitable[bool]] | Callable[[], bool]
"""A function of a schedule: False skips the slot."""


@dataclass(frozen=True, slots=True)
class Handler:
    """One function of the user's.

    Attributes:
        call: the function as it was given.
        name: for logs, warnings and error texts.
        is_async: calling it gives an awaitable; else it runs in a worker thread.
    """

    call: Callable[..., Any]
    name: str
    is_async: bool

    @staticmethod
    def of(fn: Callable[..., Any]) -> "Handler":
        """The handler for a function, method, partial or callable object."""
        inner: Any = fn
        while isinstance(inner, functools.partial):
            inner = inner.func
        # A plain decorator around an async function: the inner function decides.
        bare = inspect.unwrap(inner)
        is_async = any(
            inspect.iscoroutinefunction(f) or inspect.iscoroutinefunction(getattr(f, "__call__", None))  # noqa: B004
            for f in (inner, bare)
        )
        name = getattr(bare, "__qualname__", None) or type(bare).__qualname__
        return Handler(fn, name.replace("<locals>.", ""), is_async)


@dataclass(frozen=True, slots=True)
class Step:
    """Consumes a status."""

    status: int
    handler: Handler
    destinations: frozenset[int]
    options: Options


@dataclass(frozen=True, slots=True)
class Callback:
    """Moves a waiting run when a caller asks for it."""

    status: int
    handler: Handler
    destinations: frozenset[int]
    decode: Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Timeout:
    """Moves a run that has been in a status until a moment; `index` counts the timers of the status from 0."""

    status: int
    index: int
    timer: "Handler | timedelta | datetime"
    handler: Handler
    destinations: frozenset[int]
    options: Options


@dataclass(frozen=True, slots=True)
class Connector:
    """Consumes a foreign stream."""

    name: str
    source: ConnectorSource
    handler: Handler
    options: Options


@dataclass(frozen=True, slots=True)
class ScheduleDeclaration:
    """A schedule as it was declared; checked when the workflow is built."""

    foreign_id: str
    spec: str
    timezone: str
    initial_value: Any
    filter: Handler | None


def statuses_of(timeouts: Sequence[Timeout]) -> tuple[int, ...]:
    """The statuses that have timers, each once, in the order of declaration."""
    return tuple(dict.fromkeys(timeout.status for timeout in timeouts))
