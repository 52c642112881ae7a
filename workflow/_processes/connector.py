"""Feeds a foreign stream into the workflow: one call of the connector's function for each event.

There is no sweeper for a foreign stream, so an event is acknowledged only when its function returned, or when, after a
limited number of tries in place, it was put into the dead letters.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from .. import _names
from .._engine import Engine, role_group
from .._event import ConnectorEvent, DeadLetter
from .._handlers import Connector
from .._results import brief, error_text
from .._shard import Shard
from .._transitions import clip
from .._wake import Wake
from .each import consume_each
from .supervisor import Process
from .tenure import Tenure

ATTEMPTS = 8
"""Calls for one event before it is put into the dead letters; by default that takes about two minutes."""


def connector_processes(engine: Engine[Any, Any], connector: Connector, api: object) -> list[Process]:
    """One process a shard of the connector; its function gets `api`, the public workflow."""
    options = engine.settings.options(connector.options)
    total = options.parallel_count or 1
    processes = []
    for index in range(1, total + 1):
        shard = Shard(index, total)
        name = _names.joined(connector.name, "connector", "to", engine.name, *_names.shard_parts(shard))
        owner = _names.role(engine.name, *_names.shard_parts(shard))
        role = _names.joined(connector.name, "connector", "to", owner)
        feed = _Feed(engine, connector, api, name)
        body = _body(connector, feed, _names.consumer(role, shard), shard, options.max_in_flight or 1)
        processes.append(Process(name=name, role=role, body=body, group=role_group(engine.name, shard)))
    return processes


def _body(
    connector: Connector, feed: "_Feed", consumer: str, shard: Shard, slots: int
) -> Callable[[Tenure], Awaitable[None]]:
    async def body(tenure: Tenure) -> None:
        async with connector.source.receiver(consumer, shard=shard) as receiver:
            await consume_each(receiver, feed.handle, tenure, slots=slots)

    return body


class _Feed:
    def __init__(self, engine: Engine[Any, Any], connector: Connector, api: object, process: str) -> None:
        self._engine, self._connector, self._api, self._process = engine, connector, api, process
        self._options = engine.settings.options(connector.options)
        self._metrics = engine.metrics.process(engine.name, process)

    async def handle(self, event: ConnectorEvent) -> None:
        """Call the function until it succeeds, or bury the event."""
        engine = self._engine
        await self._wait_for_lag(event)
        began = asyncio.get_running_loop().time()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await engine.invoker.call(self._connector.handler, self._api, event, timeout=self._options.timeout)
            except Exception as error:  # noqa: BLE001 - whatever the function raises is tried again, then buried
                self._report(event, error, attempt)
                if attempt == ATTEMPTS:
                    await self._bury(event, error)
                    return
                delay = self._options.back_off().delay(attempt, engine.entropy.draw)
                await Wake(engine.clock).sleep(until=engine.now() + delay)
            else:
                self._metrics.latency(asyncio.get_running_loop().time() - began)
                return

    async def _wait_for_lag(self, event: ConnectorEvent) -> None:
        engine = self._engine
        alert = self._options.lag_alert
        lag_now = (engine.now() - event.created_at).total_seconds()
        self._metrics.lag(lag_now, None if alert is None else alert.total_seconds())
        lag = self._options.consume_lag
        while lag and engine.now() < event.created_at + lag:
            await Wake(engine.clock).sleep(until=event.created_at + lag)

    def _report(self, event: ConnectorEvent, error: Exception, attempt: int) -> None:
        self._metrics.error()
        self._engine.logger.warning(
            "connector %s failed on event %s (attempt %d): %s",
            self._connector.name,
            event.id,
            attempt,
            brief(error),
            exc_info=error,
            extra={"workflow": self._engine.name, "foreign_id": event.foreign_id, "process_name": self._process},
        )

    async def _bury(self, event: ConnectorEvent, error: Exception) -> None:
        letter = DeadLetter(
            workflow_name=self._engine.name,
            source=self._process,
            data=msgspec.json.encode(event),
            reason=clip(error_text(error)),
            created_at=self._engine.now(),
        )
        await self._engine.records.bury([letter])
