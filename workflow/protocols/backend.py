"""The four ports a workflow stands on, opened and closed together."""

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from .events import EventStreamer
from .record_store import RecordStore
from .roles import RoleScheduler
from .timeouts import TimeoutStore

_HOME = "_home_backend"
"""Attribute by which a part remembers the backend it came from."""


@runtime_checkable
class _Resource(Protocol):
    async def __aenter__(self) -> Any: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...


class Backend:
    """The four ports a workflow stands on, opened and closed together.

    Parts of different backends combine freely. `timeout_store` may be left out by workflows without timeouts. Entering
    the backend enters, in order, every part that is an async context manager; one part that serves several ports is
    entered once. A part that was taken from a ready backend shares connections with its neighbours there, so that
    backend is entered with it; if it is open already it is used as it is, and must be left later than this one.

    Args:
        release: of the program that uses the backend, for people who look at what runs; left out, the environment
            variable WORKFLOW_RELEASE.
    """

    def __init__(
        self,
        record_store: RecordStore,
        event_streamer: EventStreamer,
        role_scheduler: RoleScheduler,
        timeout_store: TimeoutStore | None = None,
        *,
        release: str | None = None,
    ) -> None:
        self.release = os.environ.get("WORKFLOW_RELEASE", "") if release is None else release
        self.record_store = record_store
        self.event_streamer = event_streamer
        self.role_scheduler = role_scheduler
        self.timeout_store = timeout_store
        self._stack: AsyncExitStack | None = None
        if type(self) is not Backend:
            for part in (record_store, event_streamer, role_scheduler, timeout_store):
                with suppress(TypeError):  # a part without attributes of its own rests upon nothing
                    vars(part).setdefault(_HOME, self)

    def parts(self) -> Sequence[object]:
        """The parts to enter, in order; a subclass puts its shared connection first."""
        return (self.record_store, self.event_streamer, self.role_scheduler, self.timeout_store)

    async def __aenter__(self) -> Self:
        if self._stack is not None:
            raise RuntimeError(f"{type(self).__name__} is entered already")
        async with AsyncExitStack() as stack:
            entered: list[object] = []
            for part in map(self._entrance, self.parts()):
                if isinstance(part, _Resource) and not any(part is other for other in entered):
                    entered.append(part)
                    await stack.enter_async_context(part)
            self._stack = stack.pop_all()
        return self

    def _entrance(self, part: object) -> object:
        """The object to enter for a part: the part, or the backend that it was taken from, unless that is open."""
        home = getattr(part, _HOME, None)
        if not isinstance(home, Backend) or home is self:
            return part
        return home if home._stack is None else None  # noqa: SLF001 - of its own class

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.__aexit__(kind, error, trace)
