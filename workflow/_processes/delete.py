"""Erases the data of runs whose deletion was requested.

What remains is what `custom_delete` keeps, or nothing; the audit of transitions stays. A failing `custom_delete` is a
failed attempt like a step's.
"""

from collections.abc import Sequence

from .._engine.engine import Engine
from .._engine.error_text import error_text, safe_str
from .._model import topology
from .._model.change import NewVersion
from .._model.event import Event
from .._model.record import Record, VersionCause
from .._model.run_state import RunState
from .consumer_process import consumer_process
from .crash_guard import CRASHED, Crashed, CrashGuard
from .early import came_early
from .lease_term import LeaseTerm
from .supervisor import Process
from .timers import timers_of
from .work import Work

ERASED = b'{"result":"deleted"}'
"""The bytes that replace an erased object."""


def delete_process(engine: Engine) -> Process:
    """The process that erases data."""
    role = topology.delete_consumer(engine.name)
    name = topology.joined("delete", "consumer")
    return consumer_process(
        engine,
        DeleteWork(engine, name),
        name=name,
        role=role,
        topic=topology.delete_topic(engine.name),
        consumer=role,
        options=engine.settings.options(),
    )


class DeleteWork(Work):
    """The work of the delete consumer."""

    def __init__(self, engine: Engine, process: str) -> None:
        self._engine, self._process = engine, process
        self._guard: CrashGuard

    def begin(self, term: LeaseTerm) -> None:
        """A term of the role starts."""
        self._guard = CrashGuard(self._engine, term)

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
        if await came_early(engine, record, record.due_at):
            return False
        if self._guard.crashed(record):
            await engine.commits.apply(self._failure(record, Crashed(CRASHED)))
        elif self._guard.suspects and engine.custom_delete is not None:
            await self._guard.attempt(record, self._attempt)
        else:
            await self._attempt(record)
        return True

    async def _attempt(self, record: Record) -> None:
        await self._forget_timers(record)
        await self._engine.commits.apply(await self._version(record))

    async def _forget_timers(self, record: Record) -> None:
        """The run is finished: its timers serve nothing any more, and keep the texts of their errors."""
        if self._engine.timeout_store is None:
            return
        left = await timers_of(self._engine, record.run_id, completed=True)
        if left:
            await self._engine.timeouts.cancel([timer.id for timer in left])

    async def _version(self, record: Record) -> NewVersion:
        engine = self._engine
        try:
            kept = await self._kept(record)
            return engine.transitions.deleted(record, kept, engine.stamp(VersionCause.DELETE))
        except Exception as error:  # noqa: BLE001 - whatever it raises is a failed attempt
            return self._failure(record, error)

    def _failure(self, record: Record, error: Exception) -> NewVersion:
        engine = self._engine
        engine.metrics.error(engine.name, self._process)
        extra = engine.extra(record, self._process)
        engine.logger.warning(
            "erasing failed (attempt %d): %s", record.attempt, safe_str(error), exc_info=error, extra=extra
        )
        cause = VersionCause.CRASH if isinstance(error, Crashed) else VersionCause.FAILURE
        delay = engine.settings.options().back_off().delay(record.attempt, engine.ids.draw)
        return engine.transitions.failed(record, error_text(error), delay, engine.stamp(cause))

    async def _kept(self, record: Record) -> bytes:
        engine = self._engine
        if engine.custom_delete is None:
            return ERASED
        value = engine.decode(record.object, record.run_id)
        kept = await engine.invoker.call(engine.custom_delete, value, timeout=engine.settings.options().timeout)
        return engine.encode(kept, record.run_id)
