"""Pauses by the engine are taken back when they have lasted long enough, from exactly that moment on."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.sleepers import sleeps_until
from tests.unit.engines import engine, first_record
from workflow import RunState
from workflow._engine.results import auto_pause
from workflow._model.record import VersionCause
from workflow._processes.lease_term import LeaseTerm
from workflow._processes.pause_retry import pause_retry_process
from workflow.testing import FakeClock
from workflow_adapters.memory import MemoryLease

HOUR = timedelta(hours=1)
START = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "state"),
    [
        (START + HOUR - timedelta(microseconds=1), RunState.PAUSED),
        (START + HOUR, RunState.RUNNING),
    ],
    ids=["just before", "at its time"],
)
async def test_a_pause_ends_at_exactly_its_time(moment: datetime, state: RunState) -> None:
    clock = FakeClock(START)
    of = engine(clock=clock)
    record = await first_record(of)
    pause = auto_pause(of, record, "too often", "no", of.stamp(VersionCause.FAILURE))
    assert (await of.commits.apply(pause)).ok
    clock.set(moment)
    term = LeaseTerm(MemoryLease(1, unclean=False), 1.0)
    task = asyncio.ensure_future(pause_retry_process(of, HOUR).body(term))
    await sleeps_until(clock, moment + timedelta(minutes=1))
    term.draining.set()
    await task
    present = await of.find(record.run_id)
    assert present is not None
    assert present.run_state is state
