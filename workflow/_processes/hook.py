"""Calls a hook for every pause, cancellation or completion.

A hook sees the run as it was at the event, at least once for each. One that fails is parked: the event is written to
the outbox again, for this consumer alone, due after a back-off; so it blocks no other event and survives restarts.
"""

import asyncio
from typing import Any

from msgspec.structs import replace

from .._declare.handlers import Handler
from .._engine.compare_and_swap import compare_and_swap
from .._engine.engine import Engine
from .._engine.error_text import safe_str
from .._engine.in_flight import OpenEvent, OpenEvents
from .._model import topology
from .._model.change import Note
from .._model.event import Event
from .._model.moments import later
from .._model.record import Record, Version
from .._model.run import Run
from .._model.run_state import RunState
from .._model.shard import WHOLE
from ..errors import InvalidObject
from .batch_consumer import consume_in_batches
from .crash_guard import CRASHED, Crashed
from .crash_memos import CrashMemos
from .lease_term import LeaseTerm
from .stream_reader import StreamReader
from .supervisor import Process

PARKS = 5
"""Tries to park an event while its run moves on."""


def hook_process(engine: Engine, run_state: RunState, handler: Handler) -> Process:
    """The process that calls the hook of one run state."""
    role = topology.hook_consumer(engine.name, run_state)
    name = topology.joined(run_state, "run-state-change-hook", "consumer")
    options = engine.settings.options()
    reader = StreamReader(engine, topology.run_state_change_topic(engine.name), role, WHOLE)
    hook = _Hook(engine, run_state, handler, name, reader)

    async def body(term: LeaseTerm) -> None:
        hook.memos.begin(term)
        unwatch = engine.in_flight.watch(name, hook.open.busy, lag_alert=options.lag_alert, timeout=options.timeout)
        try:
            async with reader.open() as receiver:
                await consume_in_batches(receiver, hook.handle, term, slots=options.max_in_flight or 1)
        finally:
            unwatch()

    return Process(name=name, role=role, body=body)


class _Hook:
    def __init__(
        self, engine: Engine, run_state: RunState, handler: Handler, process: str, reader: StreamReader
    ) -> None:
        self._engine, self._run_state, self._handler = engine, run_state, handler
        self._process, self._consumer = process, reader.name
        self._metrics = engine.metrics.process(engine.name, process)
        self.memos = CrashMemos(engine, reader.name)
        self.open = OpenEvents(engine.clock)

    async def handle(self, event: Event) -> None:
        """Call the hook for this event, or park it."""
        one = self.open.begin(event.run_id, event.created_at)
        try:
            await self._handle(event, one)
        finally:
            self.open.end(one)

    async def _handle(self, event: Event, one: OpenEvent) -> None:
        engine = self._engine
        if event.run_state is not self._run_state or event.workflow_name != engine.name:
            self._metrics.skipped("filtered out")
            return
        if event.consumer and event.consumer != self._consumer:
            self._metrics.skipped("filtered out")
            return
        record = await self._at(event)
        if record is None:
            self._metrics.skipped("record not found")
            return
        run = engine.reading(record)
        try:
            _ = run.object
        except InvalidObject as error:
            self._metrics.skipped("unable to unmarshal object")
            engine.logger.warning("hook not called: %s", error, extra=engine.extra(record, self._process))
            return
        if self.memos.suspects or event.attempt > 1:
            await self._carefully(event, record, run, one)
        else:
            await self._call(event, record, run, one)

    async def _carefully(self, event: Event, record: Version, run: Run[Any, Any], one: OpenEvent) -> None:
        """Call the hook so that a crash counts, unless it has crashed: then it waits like one that failed."""
        memos, what = self.memos, f"{event.run_id} {event.version}"
        crashed = await memos.crashed(what)
        if crashed:
            await self._park(replace(event, attempt=max(crashed, event.attempt)), record, Crashed(CRASHED))
        else:
            async with memos.noted(what, event.attempt):
                await self._call(event, record, run, one)
        await memos.forget(what)

    async def _call(self, event: Event, record: Version, run: Run[Any, Any], one: OpenEvent) -> None:
        engine = self._engine
        one.began = began = asyncio.get_running_loop().time()
        try:
            with engine.span("hook", record):
                await engine.invoker.call(self._handler, run, timeout=engine.settings.options().timeout)
            self._metrics.latency(asyncio.get_running_loop().time() - began)
        except Exception as error:  # noqa: BLE001 - whatever a hook raises is tried again later
            await self._park(event, record, error)

    async def _at(self, event: Event) -> Version | None:
        """The record as it was at the event: the present one, unless the run has moved on since."""
        record = await self._engine.find(event.run_id)
        if record is None or record.version == event.version:
            return record
        found = await self._engine.records.history(event.run_id, after=event.version - 1, limit=1)
        return found[0] if found and found[0].version == event.version else None

    async def _park(self, event: Event, version: Version, error: Exception) -> None:
        engine = self._engine
        self._metrics.error()
        extra = engine.extra(version, self._process)
        engine.logger.warning(
            "hook failed (attempt %d): %s", event.attempt, safe_str(error), exc_info=error, extra=extra
        )
        delay = engine.settings.options().back_off().delay(event.attempt, engine.ids.draw)
        due_at = later(engine.now(), delay)

        async def parked(present: Record) -> Note:
            return engine.transitions.parked(present, event, self._consumer, due_at)

        present = await engine.find(event.run_id)
        if present is not None:
            await compare_and_swap(engine, present, parked, tries=PARKS)
