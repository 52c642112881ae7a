"""Keeps the processes of a workflow going: wait for the role, work, back off after an error, start again.

Owns process states and the way a workflow stops: nothing new is started, what runs may finish within the drain time,
then roles are released, so that another process takes over at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import IntEnum

import anyio

from .._engine.log import SafeLogger
from .._engine.metrics import Metrics
from .._engine.wake import first_of
from ..errors import BackendNotOpen
from ..protocols import Lease, RoleScheduler
from .lease_term import LeaseTerm


class ProcessState(IntEnum):
    """The state of a process."""

    UNKNOWN = 0
    SHUTDOWN = 1
    RUNNING = 2
    IDLE = 3

    def __str__(self) -> str:
        return self.name.title()


@dataclass(frozen=True, slots=True)
class Process:
    """One loop that needs a role.

    Attributes:
        name: for people.
        role: the lock; unique within the backend.
        body: works until `term.draining` is set. Returning earlier, or an error, starts it again.
        back_off: the wait after an error.
        group: roles of one group go to the same process.
    """

    name: str
    role: str
    body: Callable[[LeaseTerm], Awaitable[None]]
    back_off: timedelta = timedelta(seconds=1)
    group: str = ""


@dataclass(slots=True)
class _Seat:
    """Where a process is: waiting for its role (then `waiting` may be cancelled), or in a term."""

    waiting: anyio.CancelScope | None = None
    term: LeaseTerm | None = None
    finished: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """The processes of one running workflow.

    Attributes:
        failed: why it stopped by itself: the one error that no back-off mends.
    """

    def __init__(
        self, workflow_name: str, roles: RoleScheduler, metrics: Metrics, logger: SafeLogger, *, debug: bool
    ) -> None:
        self._workflow_name, self._roles, self._debug = workflow_name, roles, debug
        self._metrics, self._logger = metrics, logger
        # By role: the names of two schedules may read alike.
        self._seats: dict[str, _Seat] = {}
        self._drain_time = 0.0
        self.states: dict[str, ProcessState] = {}
        self.stopping = asyncio.Event()
        self.failed: BackendNotOpen | None = None

    def announce(self, process: Process) -> Process:
        """Record a process that is about to be kept going; it goes by its role where its name is another's already."""
        if process.name in self.states:
            process = replace(process, name=process.role)
        self._seats[process.role] = _Seat()
        self._set(process, ProcessState.IDLE)
        return process

    def stop(self, drain: timedelta) -> None:
        """Start nothing new; let handlers in flight finish for at most `drain`."""
        self._drain_time = drain.total_seconds()
        self.stopping.set()
        for seat in self._seats.values():
            if seat.term is not None:
                self._leave(seat.term)
            elif seat.waiting is not None:
                seat.waiting.cancel()

    def knows(self, role: str) -> bool:
        """True if a process of this role has been announced."""
        return role in self._seats

    async def finished(self, role: str) -> None:
        """Return once this process has shut down."""
        await self._seats[role].finished.wait()

    async def keep_going(self, process: Process) -> None:
        """Run a process until the workflow stops or the task is cancelled."""
        seat = self._seats[process.role]
        try:
            while not self.stopping.is_set():
                try:
                    await self._serve(process, seat)
                except BackendNotOpen as error:
                    self.failed = error
                    self.stop(timedelta(0))
                except Exception as error:  # noqa: BLE001 - the one place that keeps every loop alive; reported
                    self._report(process, error)
                    await first_of(self.stopping, at_most=process.back_off.total_seconds())
        finally:
            if self._debug:
                extra = {"workflow": self._workflow_name, "process_name": process.name, "role": process.role}
                self._logger.debug("shutting down process", extra=extra)
            self._set(process, ProcessState.SHUTDOWN)
            seat.finished.set()

    async def _serve(self, process: Process, seat: _Seat) -> None:
        """Hold the role once, from waiting for it to giving it up."""
        self._set(process, ProcessState.IDLE)
        hold = self._roles.hold(process.role, group=process.group)
        lease = await self._wait(hold, seat)
        if lease is None:
            return
        error: BaseException | None = None
        try:
            await self._work(process, seat, lease)
        except BaseException as caught:
            error = caught
            raise
        finally:
            seat.term = None
            # Releasing must also happen when this task is being cancelled: takeover should not wait for the lease.
            with anyio.CancelScope(shield=True):
                await hold.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)

    async def _wait(self, hold: AbstractAsyncContextManager[Lease], seat: _Seat) -> Lease | None:
        """Wait for the role; None when the workflow stops first."""
        if self.stopping.is_set():
            return None
        with anyio.CancelScope() as waiting:
            seat.waiting = waiting
            try:
                return await hold.__aenter__()
            finally:
                seat.waiting = None
        return None

    async def _work(self, process: Process, seat: _Seat, lease: Lease) -> None:
        term = seat.term = LeaseTerm(lease, self._drain_time or DRAIN.total_seconds())
        if self.stopping.is_set():
            return
        self._set(process, ProcessState.RUNNING)
        lost = asyncio.ensure_future(lease.lost.wait())
        lost.add_done_callback(lambda _: term.draining.set())
        try:
            await process.body(term)
        finally:
            lost.cancel()

    def _leave(self, term: LeaseTerm) -> None:
        term.drain_time = self._drain_time
        term.draining.set()

    def _set(self, process: Process, state: ProcessState) -> None:
        self.states[process.name] = state
        self._metrics.state(self._workflow_name, process.name, int(state))

    def _report(self, process: Process, error: Exception) -> None:
        self._metrics.error(self._workflow_name, process.name)
        self._logger.error(
            "run error [role=%s], [process=%s]: %s",
            process.role,
            process.name,
            error,
            exc_info=error,
            extra={"workflow": self._workflow_name, "process_name": process.name},
        )


DRAIN = timedelta(seconds=30)
"""How long handlers may finish by default."""
