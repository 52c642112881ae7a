"""Versions that come before they are due: their event comes again when they are."""

import asyncio
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from tests.unit.engines import engine, first_record
from workflow._engine.engine import Engine
from workflow._processes import early
from workflow._processes.early import came_early
from workflow.testing import FakeClock

HOUR = timedelta(hours=1)


async def waiting(of: Engine) -> list[datetime | None]:
    """When the events in the outbox are due; the first is that of the trigger."""
    page = await of.records.list_outbox("unit", now=of.now() + 100 * HOUR, limit=10)
    return [one.due_at for one in page.events][1:]


async def test_a_version_that_was_due_when_it_was_made_is_due_whatever_the_clocks_say() -> None:
    clock = FakeClock()
    of = engine(clock=clock)
    record = await first_record(of)
    clock.advance(-HOUR)
    assert not await came_early(of, record, record.due_at)
    assert await waiting(of) == []


async def test_a_version_whose_time_has_come_is_due() -> None:
    clock = FakeClock()
    of = engine(clock=clock)
    record = await first_record(of)
    clock.advance(HOUR)
    assert not await came_early(of, record, record.updated_at + HOUR)
    assert await waiting(of) == []


async def test_a_version_that_waits_for_its_consume_lag_is_emitted_again_for_then() -> None:
    clock = FakeClock()
    of = engine(clock=clock)
    record = await first_record(of)
    due = record.updated_at + HOUR
    assert await came_early(of, record, due)
    assert await waiting(of) == [due]


async def test_a_version_that_the_outbox_held_back_keeps_its_slot_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay whose clock is ahead would send it again at once."""
    monkeypatch.setattr(early, "HELD", 0.05)
    clock = FakeClock()
    of = engine(clock=clock)
    record = await first_record(of)
    due = record.updated_at + HOUR
    held = replace(record, due_at=due)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await came_early(of, held, due)
    assert loop.time() - began >= 0.04
    assert await waiting(of) == [due]
