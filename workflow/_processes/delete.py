"""Erases the data of runs whose deletion was requested.

What remains is what `custom_delete` keeps, or nothing; the audit of transitions stays. A failing `custom_delete` is a
failed attempt like a step's.
"""

from collections.abc import Sequence
from typing import Any

from .._engine.engine import Engine
from .._engine.results import error_text, safe_str
from .._model import topology
from .._model.change import NewVersion
from .._model.event import Event
from .._model.record import Record
from .._model.run_state import RunState
from .._model.shard import WHOLE
from .consumer import Consumer
from .lease_term import LeaseTerm
from .stream_reader import StreamReader
from .supervisor import Process

ERASED = b'{"result":"deleted"}'
"""What replaces an object of which nothing is kept."""


def delete_process(engine: Engine[Any, Any]) -> Process:
    """The process that erases data."""
    role = topology.role(engine.name, "delete", "consumer")
    name = topology.joined("delete", "consumer")
    reader = StreamReader(engine, topology.delete_topic(engine.name), role, WHOLE)

    async def body(term: LeaseTerm) -> None:
        consumer = Consumer(
            DeleteWork(engine, name),
            reader,
            workflow_name=engine.name,
            name=role,
            shard=WHOLE,
            partitions=engine.stream.partitions,
            slots=engine.settings.options().max_in_flight or 1,
            lag_alert=engine.settings.options().lag_alert,
            metrics=engine.metrics.process(engine.name, name),
            logger=engine.logger,
        )
        close = engine.lane.open(reader.topic, consumer)
        try:
            await consumer.run(term)
        finally:
            close()

    return Process(name=name, role=role, body=body)


class DeleteWork:
    """The work of the delete consumer."""

    def __init__(self, engine: Engine[Any, Any], process: str) -> None:
        self._engine, self._process = engine, process

    async def lookup(self, run_ids: Sequence[str]) -> dict[str, Record]:
        """The present records."""
        return dict(await self._engine.records.lookup(run_ids))

    def judge(self, event: Event, record: Record | None) -> str | None:
        """Only a record that still asks for deletion, at this version."""
        if record is None:
            return "record not found"
        if record.version > event.version or record.run_state is not RunState.REQUESTED_DATA_DELETED:
            return "event record version lower than latest record version"
        return None

    async def handle(self, record: Record, attempt: int) -> bool:
        """Erase the data of this run."""
        engine = self._engine
        if record.due_at > engine.now():
            await engine.commits.apply(engine.transitions.emitted(record, record.due_at))
            return False
        await self._forget_timers(record)
        await engine.commits.apply(await self._move(record))
        return True

    async def _forget_timers(self, record: Record) -> None:
        """The run is finished: its timers serve nothing any more, and keep the texts of their errors."""
        store = self._engine.timeout_store
        if store is not None and (left := await store.list(self._engine.name, run_id=record.run_id)):
            await store.cancel([timer.id for timer in left])

    async def _move(self, record: Record) -> NewVersion:
        engine = self._engine
        attempt_id = engine.ids.attempt_id()
        try:
            return engine.transitions.deleted(record, await self._kept(record), engine.now(), attempt_id)
        except Exception as error:
            engine.metrics.error(engine.name, self._process)
            extra = engine.extra(record, self._process)
            engine.logger.warning(
                "erasing failed (attempt %d): %s", record.attempt, safe_str(error), exc_info=error, extra=extra
            )
            delay = engine.settings.options().back_off().delay(record.attempt, engine.ids.draw)
            return engine.transitions.failed(record, error_text(error), engine.now(), delay, attempt_id)

    async def _kept(self, record: Record) -> bytes:
        engine = self._engine
        if engine.custom_delete is None:
            return ERASED
        value = engine.decode(record.object, record.run_id)
        kept = await engine.invoker.call(engine.custom_delete, value, timeout=engine.settings.options().timeout)
        return engine.encode(kept, record.run_id)
