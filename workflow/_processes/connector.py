"""Feeds a foreign stream into the workflow: one call of the connector's function for each event.

There is no sweeper for a foreign stream, so an event is acknowledged only when its function returned, or when, after a
limited number of tries in place, it was put into the dead letters.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext

import msgspec

from .._declare.handlers import Connector
from .._engine.engine import Engine
from .._engine.error_text import error_text, safe_str
from .._engine.in_flight import OpenEvent, OpenEvents
from .._engine.transitions import clip
from .._engine.wake import Wake
from .._model import topology
from .._model.dead_letter import DeadLetter
from .._model.event import ConnectorEvent
from .._model.moments import later
from .._model.shard import Shard
from .batch_consumer import consume_in_batches
from .crash_guard import CRASHED, Crashed
from .crash_memos import CrashMemos
from .lease_term import LeaseTerm
from .supervisor import Process

ATTEMPTS = 8
"""Calls for one event before it is put into the dead letters; by default that takes about two minutes."""


def connector_processes(engine: Engine, connector: Connector, api: object) -> list[Process]:
    """One process a shard of the connector; its function gets `api`, the public workflow."""
    options = engine.settings.options(connector.options)
    total = options.parallel_count or 1
    processes = []
    for index in range(1, total + 1):
        shard = Shard(index, total)
        name = topology.joined(connector.name, "connector", "to", engine.name, *topology.shard_parts(shard))
        role = topology.connector_role(engine.name, connector.name, shard)
        consumer = topology.connector_consumer(engine.name, connector.name)
        feed = _Feed(engine, connector, api, name, consumer)
        body = _body(engine, connector, feed, consumer, shard, name)
        processes.append(Process(name=name, role=role, body=body, group=topology.shard_group(engine.name, shard)))
    return processes


def _body(
    engine: Engine, connector: Connector, feed: "_Feed", consumer: str, shard: Shard, name: str
) -> Callable[[LeaseTerm], Awaitable[None]]:
    options = engine.settings.options(connector.options)

    async def body(term: LeaseTerm) -> None:
        feed.memos.begin(term)
        unwatch = engine.in_flight.watch(name, feed.open.busy, lag_alert=options.lag_alert, timeout=options.timeout)
        try:
            async with connector.source.receiver(consumer, shard=shard) as receiver:
                await consume_in_batches(receiver, feed.handle, term, slots=options.max_in_flight or 1)
        finally:
            unwatch()

    return body


class _Feed:
    def __init__(self, engine: Engine, connector: Connector, api: object, process: str, consumer: str) -> None:
        self._engine, self._connector, self._api, self._process = engine, connector, api, process
        self._options = engine.settings.options(connector.options)
        self._metrics = engine.metrics.process(engine.name, process)
        self.memos = CrashMemos(engine, consumer)
        self.open = OpenEvents(engine.clock)
        self._alone = asyncio.Lock()

    async def handle(self, event: ConnectorEvent) -> None:
        """Call the function until it succeeds, or put the event into the dead letters."""
        one = self.open.begin(event.id, event.created_at)
        try:
            await self._handle(event, one)
        finally:
            self.open.end(one)

    async def _handle(self, event: ConnectorEvent, one: OpenEvent) -> None:
        await self._wait_for_lag(event)
        if not self.memos.suspects:
            await self._feed(event, one, lambda _: nullcontext())
            return
        memos, what = self.memos, event.id
        crashed = await memos.crashed(what)
        if crashed:
            # One after another: only the one that ends the process is counted again.
            async with self._alone:
                self._report(event, Crashed(CRASHED), crashed)
                await self._feed(event, one, lambda attempt: memos.noted(what, attempt, before=attempt - 1), crashed)
        else:
            await self._feed(event, one, lambda attempt: memos.noted(what, attempt, before=attempt - 1))
        await memos.forget(what)

    async def _feed(
        self,
        event: ConnectorEvent,
        one: OpenEvent,
        around: Callable[[int], AbstractAsyncContextManager[None]],
        before: int = 0,
    ) -> None:
        """Call until it succeeds or has failed too often, counting the attempts before."""
        engine = self._engine
        began = asyncio.get_running_loop().time()
        if before >= ATTEMPTS:
            await self._put_aside(event, Crashed(CRASHED))
            return
        for attempt in range(before + 1, ATTEMPTS + 1):
            async with around(attempt):
                error = await self._call(event, one)
            if error is None:
                self._metrics.latency(asyncio.get_running_loop().time() - began)
                return
            self._report(event, error, attempt)
            if attempt == ATTEMPTS:
                await self._put_aside(event, error)
                return
            delay = self._options.back_off().delay(attempt, engine.ids.draw)
            await Wake(engine.clock).sleep(until=later(engine.now(), delay))

    async def _call(self, event: ConnectorEvent, one: OpenEvent) -> Exception | None:
        """Call the function; its error, if it failed."""
        one.began = asyncio.get_running_loop().time()
        try:
            timeout = self._options.timeout
            await self._engine.invoker.call(self._connector.handler, self._api, event, timeout=timeout)
        except Exception as error:  # noqa: BLE001 - whatever the function raises is tried again, then buried
            return error
        finally:
            one.began = None
        return None

    async def _wait_for_lag(self, event: ConnectorEvent) -> None:
        engine = self._engine
        lag = self._options.consume_lag
        old_enough = later(event.created_at, lag) if lag else event.created_at
        while lag and engine.now() < old_enough:
            await Wake(engine.clock).sleep(until=old_enough)

    def _report(self, event: ConnectorEvent, error: Exception, attempt: int) -> None:
        self._metrics.error()
        self._engine.logger.warning(
            "connector %s failed on event %s (attempt %d): %s",
            self._connector.name,
            event.id,
            attempt,
            safe_str(error),
            exc_info=error,
            extra={"workflow": self._engine.name, "foreign_id": event.foreign_id, "process_name": self._process},
        )

    async def _put_aside(self, event: ConnectorEvent, error: Exception) -> None:
        letter = DeadLetter(
            workflow_name=self._engine.name,
            source=self._process,
            data=msgspec.json.encode(event),
            reason=clip(error_text(error)),
            created_at=self._engine.now(),
        )
        await self._engine.records.add_dead_letters([letter])
