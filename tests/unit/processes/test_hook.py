"""Hooks: which events they are called for, with which version of the run, and what becomes of a failure."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from tests.unit.engines import Thing, engine, first_record
from workflow import Event, Run, RunState
from workflow._declare.handlers import Handler
from workflow._engine.engine import Engine
from workflow._model import topology
from workflow._model.record import Record, VersionCause
from workflow._model.shard import WHOLE
from workflow._processes.hook import _Hook
from workflow._processes.stream_reader import StreamReader
from workflow.options import Backoff, Options
from workflow.testing import FakeClock

CONSUMER = "unit-paused-run-state-change-hook-consumer"


def hook(of: Engine, fn: Callable[[Run[Any, Any]], None]) -> _Hook:
    """The hook of pauses."""
    reader = StreamReader(of, topology.run_state_change_topic(of.name), CONSUMER, WHOLE)
    return _Hook(of, RunState.PAUSED, Handler.of(fn), "hook", reader)


async def paused(of: Engine, reason: str = "look") -> tuple[Record, Event]:
    """A paused run, and the event of its pause."""
    record = await first_record(of)
    change = of.transitions.stopped(record, RunState.PAUSED, reason, of.stamp(VersionCause.PAUSE))
    assert (await of.commits.apply(change)).ok
    return change.record, change.event


async def outbox(of: Engine) -> list[tuple[Event, datetime | None]]:
    """What was put into the outbox besides the events of the two versions."""
    page = await of.records.list_outbox(of.name, now=of.now() + timedelta(days=1), limit=100)
    return [(one.event, one.due_at) for one in page.events][2:]


async def test_a_hook_sees_the_run_as_it_was_at_the_event() -> None:
    of = engine()
    record, event = await paused(of, "the first time")
    resumed = of.transitions.resumed(record, of.stamp(VersionCause.RESUME))
    assert (await of.commits.apply(resumed)).ok
    seen: list[tuple[int, RunState, str, object]] = []

    def note(run: Run[Any, Any]) -> None:
        seen.append((run.version, run.run_state, run.meta.run_state_reason, run.object))

    await hook(of, note).handle(event)
    assert seen == [(2, RunState.PAUSED, "the first time", Thing())]


async def test_events_of_other_states_workflows_and_consumers_are_not_its_own() -> None:
    of = engine()
    record, event = await paused(of)
    called: list[Run[Any, Any]] = []
    for other in (
        replace(event, run_state=RunState.CANCELLED),
        replace(event, workflow_name="another"),
        replace(event, consumer="another hook"),
        replace(event, run_id="unknown"),
        replace(event, version=99),
    ):
        await hook(of, called.append).handle(other)
    assert called == []
    await hook(of, called.append).handle(replace(event, consumer=CONSUMER))
    assert [run.run_id for run in called] == [record.run_id]


async def test_a_hook_that_fails_is_parked_for_itself_alone_and_waits_longer_each_time() -> None:
    clock = FakeClock()
    options = Options(err_back_off=Backoff(first=timedelta(minutes=1), jitter=0))
    of = engine(clock=clock, options=options)
    _, event = await paused(of)

    def fail(run: Run[Any, Any]) -> None:
        raise RuntimeError("not now")

    failing = hook(of, fail)
    await failing.handle(event)
    ((again, due_at),) = await outbox(of)
    assert (again.consumer, again.attempt, again.version) == (CONSUMER, 2, 2)
    assert due_at == clock.now() + timedelta(minutes=1)
    await failing.handle(again)
    last, due_at = (await outbox(of))[-1]
    assert (last.consumer, last.attempt) == (CONSUMER, 3)
    assert due_at == clock.now() + timedelta(minutes=2)
    assert (await of.records.lookup(["run"]))["run"].version == 2, "a hook makes no version"


async def test_a_hook_is_parked_although_the_run_moved_on() -> None:
    of = engine()
    record, event = await paused(of)

    def fail(run: Run[Any, Any]) -> None:
        raise RuntimeError("not now")

    cancelled = of.transitions.stopped(record, RunState.CANCELLED, "", of.stamp(VersionCause.CANCEL))
    assert (await of.commits.apply(cancelled)).ok
    await hook(of, fail).handle(event)
    parked, _ = (await outbox(of))[-1]
    assert (parked.version, parked.run_state, parked.attempt) == (2, RunState.PAUSED, 2)


async def test_a_run_whose_object_cannot_be_read_calls_no_hook() -> None:
    of = engine()
    record = await first_record(of)
    unreadable = of.transitions.stopped(
        record, RunState.PAUSED, "", of.stamp(VersionCause.PAUSE), data=b'{"count":"many"}'
    )
    assert (await of.commits.apply(unreadable)).ok
    called: list[Run[Any, Any]] = []
    await hook(of, called.append).handle(unreadable.event)
    assert called == []
