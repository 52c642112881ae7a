"""Bugs of what users call: callbacks, waiting; and of hooks and erasure, which answer for runs that have ended."""

import asyncio
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

from workflow._engine.news import NewsFeed
from workflow._engine.results import interpret
from workflow._model.event import Event
from workflow._model.record import VersionCause
from workflow._processes.delete import DeleteWork
from workflow._processes.hook import _Hook
from workflow._verbs import callback as _callback
from workflow._verbs import wait_for as _wait_for

from ..programs import Status
from .plant import bug


@bug("a callback that came too late is answered")
def _answers_too_late() -> Iterator[None]:
    async def call_one(engine: Any, callback: Any, payload: Any, record: Any, status: Any, actor: str) -> Any:
        run = engine.handling(record)
        result = await engine.invoker.call(callback.handler, run, payload)
        stamp = engine.stamp(VersionCause.CALLBACK)
        version = interpret(engine, record, run, result, callback.destinations, stamp)
        await engine.commits.apply(version)
        return version.record

    with patch.object(_callback, "_call_one", call_one):
        yield


@bug("a waiter is shown a run that has not arrived", needs=lambda plan: plan.liveness)
def _not_arrived() -> Iterator[None]:
    async def reached(engine: Any, watch: Any, goal: Any) -> Any:
        record = await _wait_for._look(engine, watch)
        while True:
            if record is not None:
                watch.run_id = record.run_id
                entered = await _wait_for._first_entry(engine, record.run_id, goal)
                if goal.reached(record) or entered is not None:
                    return record
                _wait_for._check_reachable(engine, record, goal)
            record = await _wait_for._next_look(engine, watch, goal)

    with patch.object(_wait_for, "_reached", reached):
        yield


@bug("a waiter reads before it subscribes", needs=lambda plan: plan.liveness)
def _reads_first() -> Iterator[None]:
    real_reached, real_watch = _wait_for._reached, NewsFeed.watch
    there: dict[Any, bool] = {}

    def watch(self: Any, foreign_id: str, run_id: Any, *args: Any) -> Any:
        @asynccontextmanager
        async def watching() -> Any:
            passed = await self._stream.world.records.first_version_at(run_id, Status.DONE)
            await asyncio.sleep(0.1)
            async with real_watch(self, foreign_id, run_id, *args) as opened:
                there[opened] = passed is not None
                yield opened

        return watching()

    async def reached(engine: Any, opened: Any, goal: Any) -> Any:
        if not there.pop(opened):
            await opened.next()
        return await real_reached(engine, opened, goal)

    with patch.object(_wait_for, "_reached", reached), patch.object(NewsFeed, "watch", watch):
        yield


@bug("a waiter does not hear of other processes", needs=lambda plan: plan.liveness)
def _deaf() -> Iterator[None]:
    real = NewsFeed.notify

    def notify(self: Any, news: Any) -> None:
        if not isinstance(news, Event):
            real(self, news)

    with patch.object(NewsFeed, "notify", notify):
        yield


@bug("a hook's event is acknowledged before it was parked", needs=lambda plan: plan.liveness and not plan.loss)
def _parked_later() -> Iterator[None]:
    real, kept = _Hook._park, []

    async def park(self: Any, *args: Any) -> None:
        async def later() -> None:
            await asyncio.sleep(1)
            await real(self, *args)

        kept.append(asyncio.ensure_future(later()))

    with patch.object(_Hook, "_park", park):
        yield


@bug("an erasure that failed is forgotten", needs=lambda plan: plan.verbs and plan.liveness)
def _erasure_forgotten() -> Iterator[None]:
    real = DeleteWork._kept
    # For good, in every process: an event that is delivered or swept again would otherwise make up for it.
    forgotten: set[tuple[str, int]] = set()

    async def handle(self: Any, record: Any, attempt: int) -> bool:
        if (record.run_id, record.version) in forgotten:
            return True
        try:
            kept = await real(self, record)
        except RuntimeError:
            forgotten.add((record.run_id, record.version))
            return True
        engine = self._engine
        version = engine.transitions.deleted(record, kept, engine.stamp(VersionCause.DELETE))
        await engine.commits.apply(version)
        return True

    with patch.object(DeleteWork, "handle", handle):
        yield
