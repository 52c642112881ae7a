"""Crashes count in hooks, connectors, timer functions and erasures: a call that never came back has failed."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from tests.unit.engines import Status, Thing, declared, engine, first_record
from workflow import Builder, Options, Run, RunState
from workflow._declare.handlers import Connector, Handler
from workflow._engine.engine import Engine
from workflow._engine.timer_writes import TimerWrites
from workflow._model import topology
from workflow._model.record import VersionCause
from workflow._model.shard import WHOLE
from workflow._processes.connector import ATTEMPTS, _Feed
from workflow._processes.crash_guard import CRASHED
from workflow._processes.crash_memos import CrashMemos
from workflow._processes.delete import DeleteWork
from workflow._processes.hook import _Hook
from workflow._processes.lease_term import LeaseTerm
from workflow._processes.stream_reader import StreamReader
from workflow._processes.timeouts_arm import ArmingWork
from workflow.protocols import ConnectorEvent, DeadLetterQuery
from workflow_adapters.memory import MemoryBackend, MemoryConnector, MemoryLease

OPTIONS = Options(err_back_off=timedelta(0), pause_after_err_count=2)


def term(token: int, *, unclean: bool = True) -> LeaseTerm:
    return LeaseTerm(MemoryLease(token, unclean), 1.0)


class Calls:
    """A function that never returns, or does once it is told to."""

    def __init__(self) -> None:
        self.number = 0
        self.begun, self.returns = asyncio.Event(), False

    async def __call__(self, *_: object) -> Any:
        self.number += 1
        self.begun.set()
        if not self.returns:
            await asyncio.Event().wait()
        return None

    async def ended(self, of: Engine, work: Awaitable[Any], *, killed: bool) -> None:
        """Let the work begin its call, and end its process there; what comes to an end before is left alone."""
        self.begun.clear()
        task, begun = asyncio.ensure_future(work), asyncio.ensure_future(self.begun.wait())
        await asyncio.wait([task, begun], return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        keep, apply = of.records.keep_memo, of.commits.apply
        if killed and not task.done():
            of.records.keep_memo = of.commits.apply = _dead  # type: ignore[method-assign,assignment]
        task.cancel()
        with suppress(asyncio.CancelledError, _Dead):
            await task
        of.records.keep_memo, of.commits.apply = keep, apply  # type: ignore[method-assign]


class _Dead(Exception):
    """The process is killed: it writes nothing any more."""


async def _dead(*_: object) -> Any:
    raise _Dead


async def test_without_suspicion_nothing_is_kept() -> None:
    memos = CrashMemos(engine(), "consumer")
    assert not memos.suspects
    memos.begin(term(1, unclean=False))
    assert not memos.suspects
    memos.begin(term(1))
    assert memos.suspects


async def test_a_memo_of_another_holder_is_a_crash_and_its_own_is_none() -> None:
    of = engine()
    memos = CrashMemos(of, "consumer")
    memos.begin(term(1))
    async with memos.noted("this", 3):
        assert await memos.crashed("this") == 0
        other = CrashMemos(of, "consumer")
        other.begin(term(2))
        assert (await other.crashed("this"), await other.crashed("that")) == (3, 0)
        assert await CrashMemos(of, "another").crashed("this") == 0
    await memos.forget("this")
    assert await other.crashed("this") == 0


def hook(of: Engine, fn: Callable[..., Any], token: int) -> _Hook:
    reader = StreamReader(of, topology.run_state_change_topic(of.name), "hook consumer", WHOLE)
    made = _Hook(of, RunState.PAUSED, Handler.of(fn), "hook", reader)
    made.memos.begin(term(token))
    return made


async def test_a_hook_that_kills_its_process_waits_like_one_that_fails() -> None:
    of, calls = engine(options=OPTIONS), Calls()
    change = of.transitions.stopped(await first_record(of), RunState.PAUSED, "", of.stamp(VersionCause.PAUSE))
    assert (await of.commits.apply(change)).ok

    async def parked() -> list[int]:
        page = await of.records.list_outbox(of.name, now=of.now() + timedelta(days=1), limit=100)
        return [one.event.attempt for one in page.events if one.event.consumer]

    await calls.ended(of, hook(of, calls, 1).handle(change.event), killed=True)
    await calls.ended(of, hook(of, calls, 2).handle(change.event), killed=True)
    assert (calls.number, await parked()) == (1, [2]), "put off instead of called"
    again = replace(change.event, attempt=2)
    await calls.ended(of, hook(of, calls, 2).handle(again), killed=False)
    calls.returns = True
    await hook(of, calls, 3).handle(again)
    assert (calls.number, await parked()) == (3, [2]), "being asked to stop does not count"
    await hook(of, calls, 4).handle(again)
    assert calls.number == 4, "a call that came back is no crash"


def feed(of: Engine, fn: Callable[..., Any], token: int) -> _Feed:
    connector = Connector("source", MemoryConnector(), Handler.of(fn), OPTIONS)
    made = _Feed(of, connector, None, "feed", "consumer")
    made.memos.begin(term(token))
    return made


async def test_an_event_that_kills_its_process_becomes_a_dead_letter() -> None:
    of, calls = engine(options=OPTIONS), Calls()
    event = ConnectorEvent(id="e", foreign_id="f", created_at=datetime.now(UTC))
    for token in range(ATTEMPTS):
        await calls.ended(of, feed(of, calls, 2 * token).handle(event), killed=False)
        await calls.ended(of, feed(of, calls, 2 * token + 1).handle(event), killed=True)
    await feed(of, calls, 100).handle(event)
    assert calls.number == 2 * ATTEMPTS, "once for each crash, and once for each stop, which does not count"
    (letter,) = await of.records.list_dead_letters(DeadLetterQuery(workflow_name=of.name))
    assert CRASHED in letter.reason
    calls.returns = True
    await feed(of, calls, 101).handle(event)
    assert calls.number == 2 * ATTEMPTS + 1, "the memo went with the letter"


async def test_a_timer_function_that_kills_its_process_pauses_its_run() -> None:
    calls = Calls()
    builder: Builder[Thing, Status] = declared("arming")

    async def timer(run: Run[Thing, Status], now: datetime) -> datetime:
        await calls()
        return now

    builder.timeout(Status.A, timer, to=Status.C)(lambda run, now: Status.C)
    of = builder.build(MemoryBackend(), default_options=OPTIONS)._engine
    record = await first_record(of)
    for token in range(4):
        work = ArmingWork(of, 1, "arming", "arming consumer", TimerWrites(of.timeouts))
        work.begin(term(token))
        await calls.ended(of, work.handle(record, 1 + token // 2), killed=True)
    present = await of.find(record.run_id)
    assert present is not None
    assert (calls.number, present.run_state) == (2, RunState.PAUSED)
    assert CRASHED in present.last_error


async def test_an_erasure_that_kills_its_process_waits_like_one_that_fails() -> None:
    calls = Calls()
    of = engine(options=OPTIONS, custom_delete=lambda value: calls())
    record = await first_record(of)
    for change in (
        of.transitions.stopped(record, RunState.CANCELLED, "", of.stamp(VersionCause.CANCEL)),
        None,
    ):
        change = change or of.transitions.deletion_requested(record, "", of.stamp(VersionCause.DELETE))
        assert (await of.commits.apply(change)).ok
        record = change.record
    for token in range(4):
        work = DeleteWork(of, "delete")
        work.begin(term(token))
        present = await of.find(record.run_id)
        assert present is not None
        await calls.ended(of, work.handle(present, 1), killed=True)
    present = await of.find(record.run_id)
    assert present is not None
    assert (calls.number, present.attempt, present.meta.cause) == (2, 3, VersionCause.CRASH)
