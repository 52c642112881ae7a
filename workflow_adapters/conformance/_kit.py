"""The kit's types: cases, what a factory supplies, and how one case is run.

A case is an async function whose name is a sentence of the contract; it gets a `Subject` and raises AssertionError
when the sentence is not true. Nothing here knows pytest, so that any runner can be put in front.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from types import MappingProxyType
from typing import Protocol, TypeAlias

from workflow.protocols import (
    Backend,
    ConnectorEvent,
    ConnectorSource,
    Event,
    EventStreamer,
    OnCommit,
    RecordStore,
    RoleScheduler,
    TimeoutStore,
)

CASE_LIMIT = timedelta(seconds=45)
"""How long a case may take: a contract that is kept only after minutes is not kept."""


class Capability(Enum):
    """What not every backend can do, or what not every factory can arrange; the value says it in words."""

    SECOND_INSTANCE = "a second instance works on the same storage, as another process would"
    SPREADING = "roles are spread evenly over the processes that declare them"
    REOPENING = "what was acknowledged is still there after every instance was closed"
    CRASHING = "the factory can end an instance without letting it release anything"
    UNREACHABLE = "the factory can cut an open instance off from its storage, and mend it"
    SPOILED_OUTBOX = "the factory can make a stored outbox row undecodable"
    ON_COMMIT = "functions of the user run inside the transaction that moves the run"
    JOINED_TRANSACTIONS = "changes can be written in a transaction of the user's"
    REFUSED_EVENTS = "the stream refuses some events for good, and the factory knows one"
    CONNECTOR = "the adapter brings a connector source that the factory can seed"
    TIMEOUTS = "the backend has a timeout store"
    EMPTIED_STREAM = "the factory can empty the stream while readers are open"
    WAKE_UPS = "the record store and the timeout store offer wake-ups"


class Emptying(Enum):
    """How a stream is emptied; the value says it in words."""

    PLAIN = "all events are removed; the next get higher positions than any before"
    RENUMBERED = "all events are removed; positions begin anew, the stored cursors stay as they are"
    WITHOUT_CURSORS = "all events and all stored cursors are removed; positions begin anew"


class Factory(ABC):
    """One fresh, empty storage, and how to open backends on it: all that the author of an adapter supplies.

    Attributes:
        lacks: the capabilities missing, each with the reason that a reader of the report should see. Every other
            capability is had, and its hook below must be overridden.
        lease_time: after which a holder that died is replaced; the factory opens its backends with this time.
        breakable: set before the first instance is opened when `crash`, `cut` or `mend` will be called, for factories
            that arrange for it at a price.
    """

    lacks: Mapping[Capability, str] = MappingProxyType({})
    lease_time: timedelta = timedelta(seconds=3)
    breakable: bool = False

    @abstractmethod
    def backend(self) -> Backend:
        """A new backend on this storage, not entered yet; each call stands for another process."""

    async def close(self) -> None:  # noqa: B027 - most storages have nothing to remove
        """Remove the storage; called once, after every backend was closed."""

    async def crash(self, backend: Backend) -> None:
        """CRASHING: end this open backend as kill -9 would: nothing is released, flushed or announced any more.

        The case does not close it, so its tasks, threads and connections must be gone after this call.
        """
        raise NotImplementedError

    async def cut(self, backend: Backend) -> None:
        """UNREACHABLE: break every connection of this open backend, and refuse new ones until it is mended."""
        raise NotImplementedError

    async def mend(self, backend: Backend) -> None:
        """UNREACHABLE: let it reach its storage again."""
        raise NotImplementedError

    async def spoil_outbox(self, backend: Backend, outbox_id: str) -> bytes:
        """SPOILED_OUTBOX: overwrite this row so that it does not decode any more; returns the bytes it has now."""
        raise NotImplementedError

    async def empty_stream(self, how: Emptying) -> None:
        """EMPTIED_STREAM: remove every event from the storage, beside all open instances."""
        raise NotImplementedError

    def business_write(self, value: str) -> OnCommit:
        """ON_COMMIT: a function that writes `value` in a table of the user's, by the transaction it is handed."""
        raise NotImplementedError

    async def business_rows(self) -> Sequence[str]:
        """ON_COMMIT, JOINED_TRANSACTIONS: every value committed to that table, read from outside, in any order."""
        raise NotImplementedError

    def transaction(self, backend: Backend) -> AbstractAsyncContextManager[Callable[[str], Awaitable[None]]]:
        """JOINED_TRANSACTIONS: a transaction of the user's, joined by this backend's record store in this task.

        Gives a function that writes a value in the user's table. Leaving by an exception rolls back.
        """
        raise NotImplementedError

    def refused_event(self, topic: str) -> Event:
        """REFUSED_EVENTS: an event that `send` will refuse whenever it is sent."""
        raise NotImplementedError

    def connector(self, events: Sequence[ConnectorEvent]) -> ConnectorSource:
        """CONNECTOR: a source on fresh storage holding these events, in this order as far as it keeps one."""
        raise NotImplementedError


class Subject:
    """What a case examines: a backend that is open, and the means to open more on the same storage."""

    def __init__(self, factory: Factory, stack: AsyncExitStack) -> None:
        self.factory = factory
        self._stack = stack
        self._open: list[Backend] = []
        self._main: Backend | None = None

    @property
    def backend(self) -> Backend:
        """The first instance."""
        assert self._main is not None, "the runner opens it"
        return self._main

    @property
    def records(self) -> RecordStore:
        """The record store of the first instance."""
        return self.backend.record_store

    @property
    def events(self) -> EventStreamer:
        """The event streamer of the first instance."""
        return self.backend.event_streamer

    @property
    def roles(self) -> RoleScheduler:
        """The role scheduler of the first instance."""
        return self.backend.role_scheduler

    @property
    def timeouts(self) -> TimeoutStore:
        """The timeout store of the first instance; a case that uses it needs TIMEOUTS."""
        assert self.backend.timeout_store is not None, "the backend has no timeout store: declare it in `lacks`"
        return self.backend.timeout_store

    async def another(self) -> Backend:
        """One more open instance on the same storage; a case that uses it needs SECOND_INSTANCE."""
        backend = self.factory.backend()
        await backend.__aenter__()
        self._open.append(backend)
        self._stack.push_async_callback(self.shut, backend)
        return backend

    async def start(self) -> None:
        """Open the first instance."""
        self._main = await self.another()

    async def reopen(self) -> None:
        """Close every instance and open the first anew; a case that uses it needs REOPENING."""
        for backend in reversed(tuple(self._open)):
            await self.shut(backend)
        await self.start()

    async def shut(self, backend: Backend) -> None:
        """Close this instance, if it is open still."""
        if backend in self._open:
            self._open.remove(backend)
            await backend.__aexit__(None, None, None)

    async def crash(self, backend: Backend) -> None:
        """End this instance as kill -9 would; a case that uses it needs CRASHING."""
        self._open.remove(backend)
        await self.factory.crash(backend)


CaseFunction: TypeAlias = Callable[[Subject], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One sentence of the contract.

    Attributes:
        function: the proof; raises AssertionError when the sentence is not true of the subject.
        port: which port it is about: records, outbox, events, roles, timeouts, connectors.
        proves: rows of the behaviour table and rules of the design that it stands for.
        needs: without one of these capabilities the case cannot be run.
    """

    function: CaseFunction
    port: str
    proves: tuple[str, ...]
    needs: frozenset[Capability]

    @property
    def name(self) -> str:
        """The sentence, as the function is called."""
        return str(getattr(self.function, "__name__", self.function))

    @property
    def sentence(self) -> str:
        """The sentence, for people."""
        return self.name.replace("_", " ")

    def missing(self, factory: Factory) -> tuple[str, ...]:
        """Why this case cannot be run on that factory; empty when it can."""
        wanted = sorted(self.needs, key=lambda capability: capability.name)
        return tuple(f"{need.value}: {factory.lacks[need]}" for need in wanted if need in factory.lacks)


_CASES: dict[str, Case] = {}


class Declare(Protocol):
    """Registers the decorated function as a case; `proves` names the rows and rules that it stands for."""

    def __call__(self, *proves: str, needs: Collection[Capability] = ()) -> Callable[[CaseFunction], CaseFunction]: ...


def cases_of(port: str) -> Declare:
    """The decorator of a module whose cases are about this port."""

    def case(*proves: str, needs: Collection[Capability] = ()) -> Callable[[CaseFunction], CaseFunction]:
        def register(function: CaseFunction) -> CaseFunction:
            made = Case(function, port, proves, frozenset(needs))
            if made.name in _CASES:
                raise ValueError(f"two conformance cases are called {made.name!r}")
            _CASES[made.name] = made
            return function

        return register

    return case


def registered() -> tuple[Case, ...]:
    """Every case declared so far, in order of declaration."""
    return tuple(_CASES.values())


@asynccontextmanager
async def opened(factory: Factory) -> AsyncIterator[Subject]:
    """A subject on this factory's storage; every instance that is still open is closed at the end."""
    async with AsyncExitStack() as stack:
        subject = Subject(factory, stack)
        await subject.start()
        yield subject


async def run(case: Case, factory: Factory, *, limit: timedelta = CASE_LIMIT) -> None:
    """Run one case on a factory with fresh storage; the caller has looked at `Case.missing` and closes the factory.

    Raises:
        AssertionError: the sentence is not true of this backend.
    """
    factory.breakable = bool(case.needs & {Capability.CRASHING, Capability.UNREACHABLE})
    try:
        async with asyncio.timeout(limit.total_seconds()), opened(factory) as subject:
            await case.function(subject)
    except TimeoutError as error:
        raise AssertionError(f"{case.sentence}: not within {limit.total_seconds():g} s") from error
