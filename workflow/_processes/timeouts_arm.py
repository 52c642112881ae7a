"""Arms the timers of a status: once per visit, counted from the moment of entry.

An event of any version of a visit arms it, so a run that saves and repeats quickly cannot outrun its timers. Creating
a timer twice is one timer; the record's `armed` mark only saves work.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from .._declare.handlers import Handler, Timeout
from .._engine.compare_and_swap import compare_and_swap
from .._engine.engine import Engine
from .._engine.error_text import error_text, safe_str
from .._engine.results import auto_pause
from .._engine.timer_writes import TimerWrites
from .._engine.transitions import AUTO_PAUSE_REASON
from .._model import topology
from .._model.change import Note
from .._model.event import Event
from .._model.moments import in_utc, later
from .._model.record import Record, VersionCause
from .._model.run import Run
from .._model.run_state import RUNNABLE
from .._model.timer import TimeoutRecord
from ..errors import Conflict, InvalidObject, RecordNotFound
from .consumer_process import consumer_process
from .crash_guard import CRASHED, Crashed
from .crash_memos import CrashMemos
from .lease_term import LeaseTerm
from .supervisor import Process
from .timers import timer_id
from .work import Work

MARKS = 5
"""Tries to write the mark while the run moves on within its visit."""

IN_FLIGHT = 1000
"""Runs armed at the same time by default, if no function must be called: the store writes them in few batches."""


def arming_process(engine: Engine, status: int, writes: TimerWrites) -> Process:
    """The process that arms the timers of one status."""
    role = topology.timer_consumer(engine.name, status)
    name = topology.joined(engine.definition.status_text(status), "timeout-auto-inserter-consumer")
    timeouts = engine.definition.timeouts[status]
    alert = engine.settings.options(timeouts[0].options).lag_alert
    options = replace(engine.settings.options(), lag_alert=alert)
    if engine.settings.default_options.max_in_flight is None and not any(map(_is_asked, timeouts)):
        options = replace(options, max_in_flight=IN_FLIGHT)
    return consumer_process(
        engine,
        ArmingWork(engine, status, name, role, writes),
        name=name,
        role=role,
        topic=topology.topic(engine.name, status),
        consumer=role,
        options=options,
    )


def _is_asked(timeout: Timeout) -> bool:
    """True if a function of the user says when the timer is due."""
    return not isinstance(timeout.timer, timedelta | datetime)


class ArmingWork(Work):
    """Arms the timers of one status."""

    def __init__(self, engine: Engine, status: int, process: str, consumer: str, writes: TimerWrites) -> None:
        self._engine, self._status, self._process, self._consumer = engine, status, process, consumer
        self._writes = writes
        self._timeouts: tuple[Timeout, ...] = engine.definition.timeouts[status]
        self._computed = any(isinstance(timeout.timer, Handler) for timeout in self._timeouts)
        self._memos = CrashMemos(engine, consumer)

    def begin(self, term: LeaseTerm) -> None:
        """A term of the role starts."""
        self._memos.begin(term)

    async def lookup(self, run_ids: Sequence[str]) -> dict[str, Record]:
        """The present records."""
        return dict(await self._engine.records.lookup(run_ids))

    def judge(self, event: Event, record: Record | None) -> str | None:
        """Any event of the present visit arms it, whatever its version."""
        if record is None:
            return "record not found"
        if record.visit > event.version:
            return "event record version lower than latest record version"
        if record.run_state not in RUNNABLE:
            return "record stopped"
        return "" if record.marks.timers_armed else None

    async def handle(self, record: Record, attempt: int) -> bool:
        """Create the timers of this visit."""
        engine = self._engine
        if record.version != record.visit:
            # Handed over by the lane in the middle of a visit: only the store knows whether it is armed.
            present = await engine.find(record.run_id)
            if (
                present is None
                or present.visit != record.visit
                or self.judge(engine.transitions.event(record), present) is not None
            ):
                return True
            record = present
        try:
            run = engine.handling(record)
        except InvalidObject as error:
            stamp = engine.stamp(VersionCause.FAILURE)
            await engine.commits.apply(auto_pause(engine, record, str(error), error_text(error), stamp))
            return True
        if self._computed and (self._memos.suspects or attempt > 1):
            return await self._carefully(record, run, attempt)
        return await self._arm(record, run, attempt)

    async def _carefully(self, record: Record, run: Run[Any, Any], attempt: int) -> bool:
        """Arm so that a crash of a timer function counts, unless it has crashed: then it waits like one that failed."""
        memos, what = self._memos, f"{record.run_id} {record.visit}"
        crashed = await memos.crashed(what)
        if crashed:
            done = await self._fail(record, Crashed(CRASHED), max(crashed, attempt))
        else:
            async with memos.noted(what, attempt):
                done = await self._arm(record, run, attempt)
        await memos.forget(what)
        return done

    async def _arm(self, record: Record, run: Run[Any, Any], attempt: int) -> bool:
        try:
            timeouts = await self._timers(record, run)
        except Exception as error:  # noqa: BLE001 - whatever a timer function raises is a failed attempt
            return await self._fail(record, error, attempt)
        if timeouts:
            await self._writes.create(timeouts)
        await self._mark(record)
        return True

    async def _timers(self, record: Record, run: Run[Any, Any]) -> list[TimeoutRecord]:
        timers = []
        for timeout in self._timeouts:
            expire_at = await self._expiry(timeout, run, record.entered_at)
            if expire_at is not None:
                timers.append(self._record(timeout, record, expire_at))
        return timers

    async def _expiry(self, timeout: Timeout, run: Run[Any, Any], entered_at: datetime) -> datetime | None:
        timer = timeout.timer
        if isinstance(timer, timedelta):
            return later(entered_at, timer)
        if isinstance(timer, datetime):
            return in_utc(timer)
        expire_at = await self._engine.invoker.call(timer, run, entered_at, timeout=self._limit(timeout))
        if expire_at is None:
            return None
        if not isinstance(expire_at, datetime) or expire_at.utcoffset() is None:
            raise TypeError(f"timer {timer.name} must return an aware datetime or None, not {expire_at!r}")
        return in_utc(expire_at)

    def _limit(self, timeout: Timeout) -> timedelta | None:
        return self._engine.settings.options(timeout.options).timeout

    def _record(self, timeout: Timeout, record: Record, expire_at: datetime) -> TimeoutRecord:
        return TimeoutRecord(
            id=timer_id(record.run_id, record.visit, timeout.index),
            workflow_name=record.workflow_name,
            foreign_id=record.foreign_id,
            run_id=record.run_id,
            status=record.status,
            visit=record.visit,
            timer=timeout.index,
            expire_at=expire_at,
            due_at=expire_at,
            created_at=self._engine.now(),
        )

    async def _mark(self, record: Record) -> None:
        """Note that the timers exist, also while the run moves on within its visit."""

        async def armed(present: Record) -> Note | None:
            if present.visit != record.visit:
                return None
            return Note(run_id=present.run_id, version=present.version, timers_armed=True)

        with suppress(Conflict, RecordNotFound):  # the sweeper finds a visit without the mark
            await compare_and_swap(self._engine, record, armed, tries=MARKS)

    async def _fail(self, record: Record, error: Exception, attempt: int) -> bool:
        """Try again after a back-off, for this consumer alone; pause the run when it failed too often."""
        engine = self._engine
        options = engine.settings.options(self._timeouts[0].options)
        engine.metrics.error(engine.name, self._process)
        extra = engine.extra(record, self._process)
        engine.logger.warning("timer failed (attempt %d): %s", attempt, safe_str(error), exc_info=error, extra=extra)
        if options.pause_after_err_count and attempt >= options.pause_after_err_count:
            stamp = engine.stamp(VersionCause.FAILURE)
            await engine.commits.apply(auto_pause(engine, record, AUTO_PAUSE_REASON, error_text(error), stamp))
            return True
        due_at = later(engine.now(), options.back_off().delay(attempt, engine.ids.draw))
        event = engine.transitions.event(record, attempt=attempt)
        await engine.commits.apply(engine.transitions.parked(record, event, self._consumer, due_at))
        return False
