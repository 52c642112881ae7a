"""Resumes runs that the engine paused after repeated errors, once they have been paused for a while.

It reads the store, not the stream, so no run is forgotten. A pause by a person or by a handler's decision stays.
"""

import asyncio
from datetime import timedelta

from .._engine.engine import Engine
from .._engine.wake import sleep_unless
from .._model import topology
from .._model.moments import earlier
from .._model.record import Record, VersionCause
from .lease_term import LeaseTerm
from .page_size import PageSize
from .supervisor import Process
from .timers import rearm_timers

PAGE = 100
"""Runs resumed at once at most."""
LOOKS = 4
"""How often to look within the time a run stays paused."""
LEAST = timedelta(milliseconds=10)
MOST = timedelta(minutes=1)


def pause_retry_process(engine: Engine, after: timedelta) -> Process:
    """The process that resumes runs paused for longer than `after`."""
    name = topology.joined("paused", "records", "retry", "consumer")

    async def body(term: LeaseTerm) -> None:
        page = PageSize(PAGE)
        while not term.draining.is_set():
            while await _resume_page(engine, after, page) and not term.draining.is_set():
                pass
            wait = min(max(after / LOOKS, LEAST), MOST)
            await sleep_unless(term.draining, engine.clock, engine.now() + wait)

    return Process(name=name, role=topology.role(engine.name, name), body=body)


async def _resume_page(engine: Engine, after: timedelta, page: PageSize) -> bool:
    """Resume a page of runs; True if there may be more."""
    limit = page.limit
    until = earlier(engine.now(), after)
    paused = await engine.records.list_auto_paused(engine.name, paused_until=until, limit=limit)
    page.saw(paused)
    # At once, so that they are written together.
    await asyncio.gather(*(_resume(engine, record) for record in paused))
    return len(paused) == limit


async def _resume(engine: Engine, record: Record) -> None:
    version = engine.transitions.resumed(record, engine.stamp(VersionCause.RESUME))
    if (await engine.commits.apply(version)).ok:
        await rearm_timers(engine, record)
