"""Adapters that break one sentence of the contract each: they prove that the conformance kit can fail.

A fault wraps a port of a backend that is right, so that it is wrong in one way only.
"""

from collections.abc import Callable, Sequence
from typing import Any

from workflow.protocols import Backend
from workflow_adapters.conformance import Factory


class Wrapper:
    """Does whatever the port it wraps does; a fault overrides what it gets wrong."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class FaultyBackend(Backend):
    """A backend that is right, with one port replaced by a wrapper of it."""

    def __init__(self, real: Backend, port: str, fault: Callable[[Any], Any]) -> None:
        ports: dict[str, Any] = {
            "record_store": real.record_store,
            "event_streamer": real.event_streamer,
            "role_scheduler": real.role_scheduler,
            "timeout_store": real.timeout_store,
        }
        ports[port] = fault(ports[port])
        super().__init__(**ports)
        self.real = real

    def parts(self) -> Sequence[object]:
        return (self.real,)


def _right(backend: Backend) -> Backend:
    """The backend below the fault; a hook of the factory may be called by another, which has unwrapped it already."""
    return backend.real if isinstance(backend, FaultyBackend) else backend


def faulty(base: type[Factory], port: str, fault: Callable[[Any], Any]) -> type[Factory]:
    """A factory like `base` whose backends have this fault in that port."""

    class FaultyFactory(base):  # type: ignore[valid-type,misc]
        def backend(self) -> Backend:
            return FaultyBackend(super().backend(), port, fault)

        async def crash(self, backend: Backend) -> None:
            await super().crash(_right(backend))

        async def cut(self, backend: Backend) -> None:
            await super().cut(_right(backend))

        async def mend(self, backend: Backend) -> None:
            await super().mend(_right(backend))

        async def spoil_outbox(self, backend: Backend, outbox_id: str) -> bytes:
            data: bytes = await super().spoil_outbox(_right(backend), outbox_id)
            return data

    return FaultyFactory
