"""Runs the step of a status: from a due version of a run to the version after it.

Owns what happens around a step's handler: whether the version is still to be handled, and the one write that its
result, or its failure, becomes.
"""

from collections.abc import Sequence

from .._declare.handlers import Step
from .._engine.engine import Engine
from .._engine.error_text import error_text, safe_str
from .._engine.results import auto_pause, failure, interpret
from .._model import topology
from .._model.change import NewVersion, Note
from .._model.event import Event
from .._model.moments import later
from .._model.record import Record, VersionCause
from .._model.run_state import RUNNABLE
from .._model.shard import Shard
from ..errors import InvalidObject
from .consumer_process import consumer_process
from .crash_guard import CRASHED, CrashGuard
from .early import came_early
from .lease_term import LeaseTerm
from .supervisor import Process
from .work import Work


def step_processes(engine: Engine, step: Step) -> list[Process]:
    """One process a shard of the step."""
    options = engine.settings.options(step.options)
    total = options.parallel_count or 1
    processes = []
    for index in range(1, total + 1):
        shard = Shard(index, total)
        name = topology.joined(engine.definition.status_text(step.status), *topology.shard_parts(shard))
        processes.append(
            consumer_process(
                engine,
                StepWork(engine, step, name),
                name=name,
                role=topology.step_role(engine.name, step.status, shard),
                topic=topology.topic(engine.name, step.status),
                consumer=topology.step_consumer(engine.name, step.status),
                options=options,
                shard=shard,
                group=topology.shard_group(engine.name, shard),
            )
        )
    return processes


class StepWork(Work):
    """The work of one shard of one step."""

    def __init__(self, engine: Engine, step: Step, process: str) -> None:
        self._engine, self._step, self.process = engine, step, process
        self._options = engine.settings.options(step.options)
        self._metrics = engine.metrics.process(engine.name, process)
        lag = self._options.consume_lag
        # Without timers the outbox holds the event back; with them it comes at once, and waiting is done here.
        self._lag = lag if lag and step.status in engine.definition.timeouts else None
        self._guard: CrashGuard

    def begin(self, term: LeaseTerm) -> None:
        """A term of the role starts."""
        self._guard = CrashGuard(self._engine, term)

    async def lookup(self, run_ids: Sequence[str]) -> dict[str, Record]:
        """The present records."""
        return dict(await self._engine.records.lookup(run_ids))

    def judge(self, event: Event, record: Record | None) -> str | None:
        """A version that is superseded, stopped or skipped needs no step."""
        if record is None:
            return "record not found"
        if record.version > event.version:
            return "event record version lower than latest record version"
        if record.status != self._step.status:
            return "record status not in expected state"
        if record.run_state not in RUNNABLE:
            self._engine.debug("Skipping consumption of stopped workflow record", record, self.process)
            return "record stopped"
        return "next value specified skip" if record.marks.skipped else None

    async def handle(self, record: Record, attempt: int) -> bool:
        """Run the step for this version and commit its result."""
        engine = self._engine
        # A version that a failed attempt made waits for its back-off alone, as it does where the outbox delays.
        lag = self._lag if record.attempt == 1 else None
        if await came_early(engine, record, later(record.updated_at, lag) if lag else record.due_at):
            return False
        if self._guard.crashed(record):
            stamp = engine.stamp(VersionCause.CRASH)
            await self._commit(record, failure(engine, record, CRASHED, self._options, stamp))
        elif self._guard.suspects:
            await self._guard.attempt(record, self._attempt)
        else:
            await self._attempt(record)
        return True

    async def _attempt(self, record: Record) -> None:
        engine = self._engine
        try:
            run = engine.handling(record)
        except InvalidObject as error:
            stamp = engine.stamp(VersionCause.FAILURE)
            await self._commit(record, auto_pause(engine, record, str(error), error_text(error), stamp))
            return
        try:
            with engine.span("step", record):
                result = await engine.invoker.call(self._step.handler, run, timeout=self._options.timeout)
            stamp = engine.stamp(VersionCause.STEP)
            version = interpret(engine, record, run, result, self._step.destinations, stamp)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is a failed attempt
            await self._fail(record, error)
            return
        if version is None:
            await self._skip(record)
            return
        try:
            await self._commit(record, version)
        except Exception as error:  # noqa: BLE001 - data the store refuses is a failed attempt too
            await self._fail(record, error)

    async def _skip(self, record: Record) -> None:
        self._engine.debug("skipping update", record, self.process)
        self._metrics.skipped("next value specified skip")
        await self._engine.commits.apply(
            Note(run_id=record.run_id, version=record.version, base_attempt=record.attempt_id, skipped=True)
        )

    async def _fail(self, record: Record, error: Exception) -> None:
        engine = self._engine
        self._metrics.error()
        extra = engine.extra(record, self.process)
        engine.logger.warning("attempt %d failed: %s", record.attempt, safe_str(error), exc_info=error, extra=extra)
        stamp = engine.stamp(VersionCause.FAILURE)
        version = failure(engine, record, error_text(error), self._options, stamp)
        if version.record.auto_paused:
            engine.debug("paused record after exceeding allowed error count", record, self.process)
        await self._commit(record, version)

    async def _commit(self, record: Record, version: NewVersion) -> None:
        outcome = await self._engine.commits.apply(version)
        if not outcome.ok:
            # Another writer moved the run meanwhile (a verb, a callback, another holder): that counts, this does not.
            self._engine.debug("result dropped: the run was moved meanwhile", record, self.process)
