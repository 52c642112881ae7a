"""Runs the step of a status: from a due version of a run to the version after it.

Owns what happens around a step's handler: whether the version is still to be handled, the failure that an earlier
crash counts as, and the one write that its result, or its failure, becomes.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from .._declare.handlers import Step
from .._engine.engine import Engine, role_group
from .._engine.results import auto_pause, error_text, failure, interpret, safe_str
from .._model import topology
from .._model.change import Mark, NewVersion
from .._model.event import Event
from .._model.record import Record
from .._model.run_state import RUNNABLE
from .._model.shard import Shard
from ..errors import InvalidObject
from ..options import Options
from .consumer import Consumer
from .lease_term import LeaseTerm
from .stream_reader import StreamReader
from .supervisor import Process

SUSPICION = 60.0
"""Seconds after an unclean takeover in which the start of each handler is noted durably before it runs."""
EARLY = 0.5
"""Seconds at most that an event which came too early is held before it is emitted again."""
CRASHED = "the process that handled this attempt ended before it had a result"


def step_processes(engine: Engine[Any, Any], step: Step) -> list[Process]:
    """One process a shard of the step."""
    options = engine.settings.options(step.options)
    total = options.parallel_count or 1
    processes = []
    for index in range(1, total + 1):
        shard = Shard(index, total)
        role = topology.role(engine.name, step.status, *topology.shard_parts(shard))
        name = topology.joined(engine.definition.status_text(step.status), *topology.shard_parts(shard))
        work = StepWork(engine, step, name)
        reader = StreamReader(engine, topology.topic(engine.name, step.status), topology.consumer(role, shard), shard)
        processes.append(
            Process(
                name=name,
                role=role,
                body=_body(engine, work, reader, shard, options),
                group=role_group(engine.name, shard),
            )
        )
    return processes


def _body(engine: Engine[Any, Any], work: "StepWork", reader: StreamReader, shard: Shard, options: Options) -> Any:
    async def body(term: LeaseTerm) -> None:
        work.begin(term)
        consumer = Consumer(
            work,
            reader,
            workflow_name=engine.name,
            name=reader.name,
            shard=shard,
            partitions=engine.stream.partitions,
            slots=options.max_in_flight or 1,
            lag_alert=options.lag_alert,
            metrics=engine.metrics.process(engine.name, work.process),
            logger=engine.logger,
        )
        close = engine.lane.open(reader.topic, consumer)
        try:
            await consumer.run(term)
        finally:
            close()

    return body


class StepWork:
    """The work of one shard of one step."""

    def __init__(self, engine: Engine[Any, Any], step: Step, process: str) -> None:
        self._engine, self._step, self.process = engine, step, process
        self._options = engine.settings.options(step.options)
        self._metrics = engine.metrics.process(engine.name, process)
        lag = self._options.consume_lag
        # Without timers the outbox holds the event back; with them it comes at once, and waiting is done here.
        self._lag = lag if lag and step.status in engine.definition.timeouts else None
        self._term: LeaseTerm | None = None

    def begin(self, term: LeaseTerm) -> None:
        """A term starts; an unclean takeover makes the first minute suspicious."""
        self._term = term

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
        return "next value specified skip" if record.skipped else None

    async def handle(self, record: Record, attempt: int) -> bool:
        """Run the step for this version and commit what comes of it."""
        engine = self._engine
        # A version that a failed attempt made waits for its back-off alone, as it does where the outbox delays.
        lag = self._lag if record.attempt == 1 else None
        due = record.updated_at + lag if lag else record.due_at
        if due > engine.now():
            # Early: a duplicate of a delayed event, or a lag that is waited for here. It comes again when it is due.
            if lag is None:
                # Or the relay's clock is ahead of ours, and would send it again at once.
                await asyncio.sleep(min((due - engine.now()).total_seconds(), EARLY))
            await engine.commits.apply(engine.transitions.emitted(record, due))
            return False
        if record.started_by and record.started_by != self._mark_of_this_term():
            await self._commit(record, failure(engine, record, CRASHED, self._options, engine.ids.attempt_id()))
            return True
        if self._suspicious():
            mark = Mark(run_id=record.run_id, version=record.version, started_by=self._mark_of_this_term())
            try:
                if not (await engine.commits.apply(mark)).ok:
                    return True
                await self._attempt(record)
            except asyncio.CancelledError:
                # Being asked to stop is no crash: take the note back, the attempt does not count.
                await engine.commits.apply(Mark(run_id=record.run_id, version=record.version, started_by=""))
                raise
        else:
            await self._attempt(record)
        return True

    async def _attempt(self, record: Record) -> None:
        engine = self._engine
        attempt_id = engine.ids.attempt_id()
        try:
            run = engine.handling(record)
        except InvalidObject as error:
            await self._commit(record, auto_pause(engine, record, str(error), error_text(error), attempt_id))
            return
        try:
            with engine.span("step", record):
                result = await engine.invoker.call(self._step.handler, run, timeout=self._options.timeout)
            move = interpret(engine, record, run, result, self._step.destinations, attempt_id)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is a failed attempt
            await self._fail(record, error, attempt_id)
            return
        if move is None:
            await self._skip(record)
            return
        try:
            await self._commit(record, move)
        except Exception as error:  # noqa: BLE001 - data the store refuses is a failed attempt too
            await self._fail(record, error, engine.ids.attempt_id())

    async def _skip(self, record: Record) -> None:
        self._engine.debug("skipping update", record, self.process)
        self._metrics.skipped("next value specified skip")
        await self._engine.commits.apply(Mark(run_id=record.run_id, version=record.version, skipped=True))

    async def _fail(self, record: Record, error: Exception, attempt_id: str) -> None:
        engine = self._engine
        self._metrics.error()
        extra = engine.extra(record, self.process)
        engine.logger.warning("attempt %d failed: %s", record.attempt, safe_str(error), exc_info=error, extra=extra)
        move = failure(engine, record, error_text(error), self._options, attempt_id)
        if move.record.auto_paused:
            engine.debug("paused record after exceeding allowed error count", record, self.process)
        await self._commit(record, move)

    async def _commit(self, record: Record, move: NewVersion) -> None:
        outcome = await self._engine.commits.apply(move)
        if not outcome.ok:
            # Somebody moved the run meanwhile (a verb, a callback, another holder): that counts, this does not.
            self._engine.debug("result dropped: the run was moved meanwhile", record, self.process)

    def _suspicious(self) -> bool:
        term = self._term
        if term is None or not term.lease.unclean:
            return False
        return asyncio.get_running_loop().time() - term.began < SUSPICION

    def _mark_of_this_term(self) -> str:
        token = self._term.lease.token if self._term is not None else 0
        return f"{self._engine.ids.process_id}-{token}"
