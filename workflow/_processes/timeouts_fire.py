"""Fires timers that are due.

One loop per process looks for the due timers of every status whose role this process holds; each timer fires in a
task of its own. A timer belongs to one run and one visit: it never acts on another run of the foreign ID, nor on a
later visit. Its result carries its id as attempt id, so it is applied once even if it is claimed twice.

Crashes count: a timer that was claimed more often than it was tried may have killed its process. Then the attempt is
counted before its function runs, and taken back if the process is asked to stop.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from .._declare.handlers import Timeout
from .._engine.engine import Engine
from .._engine.error_text import error_text, safe_str
from .._engine.in_flight import Busy, Handler
from .._engine.log import SafeLogger
from .._engine.results import auto_pause, interpret
from .._engine.timer_writes import TimerWrites
from .._engine.transitions import AUTO_PAUSE_REASON, clip
from .._engine.wake import Wake
from .._model import topology
from .._model.change import Verdict
from .._model.moments import later
from .._model.record import Record, VersionCause
from .._model.run_state import RunState
from .._model.timer import TimeoutRecord
from ..errors import InvalidObject, InvalidRunState
from ..protocols import WakeUp
from .crash_guard import CRASHED, Crashed
from .lease_term import LeaseTerm
from .supervisor import Process
from .timers import rearm_timers, timer_id
from .wake_ups import listen

CLAIM = timedelta(seconds=10)
"""How long a claimed timer is out of others' reach: so late fires one whose process was killed with it in hand."""
POSTPONEMENT = timedelta(minutes=1)
LONGEST_POSTPONEMENT = timedelta(minutes=5)
"""How long a paused run's timer sleeps at first, and at most; resuming wakes it anyway."""
AGAIN = timedelta(seconds=1)
"""When a timer is tried again whose run kept moving."""
RETRY = 1.0
"""Seconds before an unreachable timeout store is asked again."""
CONFLICTS = 5
"""How often a timer is tried against a run that moves within its visit."""


class _Firing(NamedTuple):
    """A timer in hand, and since when, by the loop's time."""

    timeout: TimeoutRecord
    began: float


class TimeoutPoller:
    """All due timers of one process."""

    def __init__(self, engine: Engine, writes: TimerWrites) -> None:
        self._engine, self._writes = engine, writes
        self._wake = Wake(engine.clock)
        self._held: dict[int, str] = {}
        self._tasks: dict[asyncio.Task[None], _Firing] = {}
        self._slots = engine.settings.options().max_in_flight or 1
        self._logger: SafeLogger = engine.logger
        self._time = asyncio.get_running_loop().time
        self._polls = {
            status: min(_polling(engine, timeout) for timeout in declared)
            for status, declared in engine.definition.timeouts.items()
        }

    def process(self, status: int) -> Process:
        """The process that holds the role for one status."""
        name = topology.joined(self._engine.definition.status_text(status), "timeout-consumer")

        options = self._engine.settings.options(self._engine.definition.timeouts[status][0].options)

        async def body(term: LeaseTerm) -> None:
            unwatch = self._engine.in_flight.watch(
                name, lambda: self._busy(status), lag_alert=options.lag_alert, timeout=options.timeout
            )
            try:
                await self._serve(status, name, term)
            finally:
                unwatch()

        return Process(name=name, role=topology.timer_role(self._engine.name, status), body=body)

    async def _serve(self, status: int, name: str, term: LeaseTerm) -> None:
        self._held[status] = name
        self._wake.set()
        try:
            await term.draining.wait()
        finally:
            del self._held[status]
        await term.drain([task for task, firing in self._tasks.items() if firing.timeout.status == status])

    async def run(self) -> None:
        """Fire timers until cancelled."""
        store = self._engine.timeouts
        listener = asyncio.ensure_future(listen(store, WakeUp.TIMEOUTS, self._engine.name, self._wake))
        try:
            while True:
                try:
                    await self._poll()
                except Exception as error:  # nothing else would start this loop again
                    extra = {"workflow": self._engine.name}
                    self._logger.error("timers cannot be read now: %s", safe_str(error), exc_info=error, extra=extra)
                    await asyncio.sleep(RETRY)
        finally:
            listener.cancel()
            for task in self._tasks:
                task.cancel()

    async def _poll(self) -> None:
        """One look: claim as many due timers as there is room for, then sleep until another may be due."""
        self._wake.clear()
        room = self._slots - len(self._tasks)
        if not self._held or room <= 0:
            # Whatever changes that sets the wake-up.
            await self._wake.sleep()
            return
        now = self._engine.now()
        in_hand = {firing.timeout.id: firing.timeout for firing in self._tasks.values()}
        at_most = min(self._polls[status] for status in self._held)  # asked before the look: roles may go meanwhile
        page = await self._engine.timeouts.claim_due(
            self._engine.name, tuple(self._held), now=now, until=now + CLAIM, limit=room
        )
        if page.timeouts:
            await self._fire_all([timeout for timeout in page.timeouts if _is_new(timeout, in_hand.get(timeout.id))])
            return
        await self._wake.sleep(until=page.next_due, at_most=at_most)

    async def _fire_all(self, timeouts: Sequence[TimeoutRecord]) -> None:
        records = await self._engine.records.lookup([timeout.run_id for timeout in timeouts])
        began = self._time()
        for timeout in timeouts:
            task = asyncio.get_running_loop().create_task(self._fire(timeout, records.get(timeout.run_id)))
            self._tasks[task] = _Firing(timeout, began)
            task.add_done_callback(self._fired)

    def _busy(self, status: int) -> Busy:
        now = self._time()
        firing = [one for one in list(self._tasks.values()) if one.timeout.status == status]
        handlers = [Handler(one.timeout.run_id, one.began) for one in firing]
        return Busy(max((now - one.began for one in firing), default=0.0), handlers)

    def _fired(self, task: "asyncio.Task[None]") -> None:
        del self._tasks[task]
        self._wake.set()

    async def _fire(self, timeout: TimeoutRecord, record: Record | None) -> None:
        process = self._held.get(timeout.status, "")
        try:
            await self._settle(timeout, record, process)
        except Exception as error:
            self._engine.metrics.error(self._engine.name, process)
            self._logger.error("timer %s could not be fired: %s", timeout.id, error, exc_info=error)

    async def _settle(self, timeout: TimeoutRecord, record: Record | None, process: str) -> None:
        writes = self._writes
        # The first claim cannot have been applied; a later one may follow a crash between commit and completion.
        doubtful = timeout.claims > 1
        for _ in range(CONFLICTS):
            if record is None or record.visit != timeout.visit or record.run_state.finished:
                await writes.cancel([timeout.id])
                return
            if record.run_state is RunState.PAUSED:
                self._engine.debug("Skipping processing of timeout of stopped workflow record", record, process)
                await self._put_off(timeout)
                return
            declared = self._declared(timeout)
            if declared is None or (doubtful and await self._applied_before(timeout)):
                await writes.complete(timeout.id)
                return
            if await self._crashed_too_often(timeout, declared, record, process):
                return
            conflict = await self._try(timeout, declared, record, process)
            if conflict is None:
                return
            record = conflict
            # Whoever moved the run may have been a later claim of this very timer.
            doubtful = True
        await writes.postpone(replace(timeout, due_at=self._engine.now() + AGAIN))

    async def _put_off(self, timeout: TimeoutRecord) -> None:
        """The timer of a paused run sleeps for a while."""
        engine = self._engine
        await self._writes.postpone(replace(timeout, due_at=self._later(timeout)))
        # The run may have been resumed, and its timers revived, just before this was written.
        present = await engine.find(timeout.run_id)
        if present is not None and present.run_state is not RunState.PAUSED:
            await rearm_timers(engine, present)

    def _declared(self, timeout: TimeoutRecord) -> Timeout | None:
        declared = self._engine.definition.timeouts.get(timeout.status, ())
        return declared[timeout.timer] if timeout.timer < len(declared) else None

    async def _applied_before(self, timeout: TimeoutRecord) -> bool:
        return await self._engine.records.find_attempt(timeout.run_id, timeout.id) is not None

    async def _try(self, timeout: TimeoutRecord, declared: Timeout, record: Record, process: str) -> Record | None:
        """Run the timer's function once; the present record if the run was moved meanwhile."""
        engine = self._engine
        options = engine.settings.options(declared.options)
        try:
            run = engine.handling(record, attempt=timeout.attempt, last_error=timeout.last_error)
        except InvalidObject as error:
            await self._unreadable(timeout, record, error, process)
            return None
        suspected = timeout.claims > timeout.attempt
        if suspected:
            await self._count(timeout)
        began = asyncio.get_running_loop().time()
        try:
            with engine.span("timeout", record):
                result = await engine.invoker.call(declared.handler, run, engine.now(), timeout=options.timeout)
            stamp = engine.stamp(VersionCause.TIMEOUT, attempt_id=timeout.id)
            version = interpret(engine, record, run, result, declared.destinations, stamp)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is a failed attempt
            await self._fail(timeout, declared, record, error, process)
            return None
        except asyncio.CancelledError:
            if suspected:
                # Being asked to stop is no crash: the attempt does not count, and the next holder may begin at once.
                await engine.timeouts.postpone([replace(timeout, due_at=engine.now())])
            raise
        finally:
            engine.metrics.latency(engine.name, process, asyncio.get_running_loop().time() - began)
        if version is None:
            engine.debug("skipping update", record, process)
            await self._writes.complete(timeout.id)
            return None
        try:
            outcome = await engine.commits.apply(version)
        except Exception as error:  # noqa: BLE001 - a result the store refuses is a failed attempt too
            await self._fail(timeout, declared, record, error, process)
            return None
        if outcome.verdict is Verdict.CONFLICT and outcome.record is not None:
            return outcome.record
        if version.record.visit != timeout.visit or version.record.run_state.finished:
            declared_here = engine.definition.timeouts.get(timeout.status, ())
            await self._writes.cancel([timer_id(record.run_id, record.visit, n) for n in range(len(declared_here))])
        else:
            await self._writes.complete(timeout.id)
        return None

    async def _count(self, timeout: TimeoutRecord) -> None:
        """Count the attempt that begins; what becomes of it is written over this."""
        due_at = self._engine.now() + CLAIM
        counted = replace(timeout, due_at=due_at, attempt=timeout.attempt + 1, last_error=CRASHED)
        await self._writes.postpone(counted)

    async def _crashed_too_often(self, timeout: TimeoutRecord, declared: Timeout, record: Record, process: str) -> bool:
        """True if the last attempts ended their processes; then the run is paused, and its timer waits."""
        engine = self._engine
        threshold = engine.settings.options(declared.options).pause_after_err_count or 0
        if timeout.last_error != CRASHED or not 0 < threshold < timeout.attempt:
            return False
        engine.metrics.error(engine.name, process)
        extra = engine.extra(record, process)
        engine.logger.warning("timeout failed (attempt %d): %s", timeout.attempt - 1, CRASHED, extra=extra)
        await self._pause(record, AUTO_PAUSE_REASON, Crashed(CRASHED), process)
        await self._writes.postpone(replace(timeout, due_at=self._later(timeout)))
        return True

    async def _unreadable(self, timeout: TimeoutRecord, record: Record, error: InvalidObject, process: str) -> None:
        """The run is paused; its timer waits until the run is resumed."""
        engine = self._engine
        engine.metrics.error(engine.name, process)
        await self._pause(record, str(error), error, process)
        await self._writes.postpone(replace(timeout, due_at=self._later(timeout)))

    async def _pause(self, record: Record, reason: str, error: Exception, process: str) -> None:
        engine = self._engine
        try:
            stamp = engine.stamp(VersionCause.FAILURE)
            await engine.commits.apply(auto_pause(engine, record, reason, error_text(error), stamp))
        except InvalidRunState:
            engine.debug("not paused: the run was stopped meanwhile", record, process)

    async def _fail(
        self, timeout: TimeoutRecord, declared: Timeout, record: Record, error: Exception, process: str
    ) -> None:
        """Failures count on the timer: it is due again after a back-off; too many pause the run."""
        engine = self._engine
        options = engine.settings.options(declared.options)
        engine.metrics.error(engine.name, process)
        extra = engine.extra(record, process)
        self._logger.warning(
            "timeout failed (attempt %d): %s", timeout.attempt, safe_str(error), exc_info=error, extra=extra
        )
        threshold = options.pause_after_err_count or 0
        if threshold and timeout.attempt >= threshold:
            await self._pause(record, AUTO_PAUSE_REASON, error, process)
            engine.debug("paused record after exceeding allowed error count", record, process)
        delay = options.back_off().delay(timeout.attempt, engine.ids.draw)
        await self._writes.postpone(
            replace(
                timeout,
                due_at=later(engine.now(), delay),
                attempt=timeout.attempt + 1,
                last_error=clip(error_text(error)),
            )
        )

    def _later(self, timeout: TimeoutRecord) -> datetime:
        doublings: int = min(timeout.claims, 10)
        return self._engine.now() + min(POSTPONEMENT * (1 << doublings), LONGEST_POSTPONEMENT)


def _is_new(claimed: TimeoutRecord, in_hand: TimeoutRecord | None) -> bool:
    """True if this claim is to fire, and not one that renews the claim of a handler that still runs here.

    What was in hand before the look may be complete by now, so it counts from then: it does not fire a second time.
    Only a failure that has been counted since makes it due again; its task may not have heard of that yet.
    """
    return in_hand is None or claimed.attempt == in_hand.attempt + 1


def _polling(engine: Engine, timeout: Timeout) -> timedelta:
    return engine.settings.options(timeout.options).polling_frequency or AGAIN
