"""Timers are written in batches, in which each keeps its own answer."""

import asyncio
import contextvars
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum

import msgspec
import pytest

from workflow import Builder, Run
from workflow._engine.timer_writes import BATCH, TimerWrites
from workflow.errors import TimeoutNotFound, Unavailable
from workflow.protocols import Backend, TimeoutQuery, TimeoutRecord
from workflow.testing import FakeClock
from workflow_adapters.memory import MemoryBackend, MemoryTimeoutStore

NOW = datetime(2025, 1, 1, tzinfo=UTC)
PATIENCE = timedelta(seconds=30)
REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="")


class Store(MemoryTimeoutStore):
    """Notes the calls, and works on one while its gate is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, list[str]]] = []
        self.contexts: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = False

    async def _called(self, name: str, ids: list[str]) -> None:
        self.calls.append((name, ids))
        self.contexts.append(REQUEST.get())
        await self.gate.wait()
        if self.away:
            raise Unavailable("gone")

    async def create(self, timeouts: Sequence[TimeoutRecord]) -> None:
        await self._called("create", [timeout.id for timeout in timeouts])
        if any(timeout.foreign_id == "refused" for timeout in timeouts):
            raise ValueError("foreign_id is refused")
        await super().create(timeouts)

    async def postpone(self, timeouts: Sequence[TimeoutRecord]) -> None:
        await self._called("postpone", [timeout.id for timeout in timeouts])
        await super().postpone(timeouts)

    async def complete(self, ids: Sequence[str]) -> None:
        await self._called("complete", list(ids))
        await super().complete(ids)

    async def cancel(self, ids: Sequence[str]) -> None:
        await self._called("cancel", list(ids))
        await super().cancel(ids)

    async def ids(self) -> list[str]:
        return sorted(timer.id for timer in await self.list(TimeoutQuery(workflow_name="w", limit=1000)))


def timer(id_: str, *, foreign_id: str = "f", due_at: datetime = NOW) -> TimeoutRecord:
    return TimeoutRecord(
        id=id_,
        workflow_name="w",
        foreign_id=foreign_id,
        run_id=f"run-{id_}",
        status=1,
        visit=1,
        timer=0,
        expire_at=NOW,
        due_at=due_at,
        created_at=NOW,
    )


async def test_writes_of_one_moment_go_together() -> None:
    store = Store()
    writes = TimerWrites(store)
    await asyncio.gather(*(writes.create([timer(str(n))]) for n in range(3)))
    await asyncio.gather(writes.complete("0"), writes.cancel(["1"]), writes.cancel(["2"]))
    assert sorted(store.calls) == [("cancel", ["1", "2"]), ("complete", ["0"]), ("create", ["0", "1", "2"])]


async def test_what_comes_while_the_store_is_at_work_goes_with_the_next_call() -> None:
    store = Store()
    store.gate.clear()
    writes = TimerWrites(store)
    first = asyncio.ensure_future(writes.create([timer("first")]))
    while not store.calls:
        await asyncio.sleep(0)
    others = [asyncio.ensure_future(writes.create([timer(f"{n:03}")])) for n in range(BATCH + 1)]
    await asyncio.sleep(0)
    store.gate.set()
    await asyncio.gather(first, *others)
    assert [len(ids) for _, ids in store.calls] == [1, BATCH, 1]
    # A write after all was done is written as well.
    await writes.create([timer("last")])
    assert "last" in await store.ids()


async def test_a_timer_that_the_store_refuses_fails_alone() -> None:
    store = Store()
    writes = TimerWrites(store)
    written = [
        writes.create([timer(str(n), foreign_id="refused" if n == 4 else "f"), timer(f"{n}b")]) for n in range(9)
    ]
    answers = await asyncio.gather(*written, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError if n == 4 else type(None) for n in range(9)]
    assert await store.ids() == sorted(f"{n}{b}" for n in range(9) if n != 4 for b in ("", "b"))


async def test_a_timer_that_is_gone_is_missed_by_its_own_caller() -> None:
    store = Store()
    writes = TimerWrites(store)
    await writes.create([timer("a"), timer("c")])
    answers = await asyncio.gather(*map(writes.complete, "abc"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), TimeoutNotFound, type(None)]
    assert await store.ids() == []


async def test_a_store_that_is_away_is_asked_once_for_all() -> None:
    store = Store()
    store.away = True
    writes = TimerWrites(store)
    answers = await asyncio.gather(*(writes.cancel([str(n)]) for n in range(5)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 5
    assert len(store.calls) == 1
    store.away = False
    await writes.cancel(["1"])


async def test_the_later_of_two_postponements_counts() -> None:
    store = Store()
    writes = TimerWrites(store)
    await writes.create([timer("a")])
    later = NOW + timedelta(hours=2)
    first = writes.postpone(timer("a", due_at=NOW + timedelta(hours=3)))
    await asyncio.gather(first, writes.postpone(timer("a", due_at=later)))
    (written,) = await store.list(TimeoutQuery(workflow_name="w"))
    assert written.due_at == later


async def test_a_caller_that_is_cancelled_cuts_nobody_off() -> None:
    store = Store()
    store.gate.clear()
    writes = TimerWrites(store)
    one = asyncio.ensure_future(writes.create([timer("a")]))
    other = asyncio.ensure_future(writes.create([timer("b")]))
    while not store.calls:
        await asyncio.sleep(0)
    waiting = asyncio.ensure_future(writes.create([timer("c")]))
    one.cancel()
    waiting.cancel()
    store.gate.set()
    await other
    await writes.flush()
    with pytest.raises(asyncio.CancelledError):
        await one
    assert await store.ids() == ["a", "b"]  # the third had not been sent


async def test_the_callers_context_stays_with_the_caller() -> None:
    store = Store()
    writes = TimerWrites(store)
    REQUEST.set("a stranger's")
    await writes.cancel(["a"])
    assert store.contexts == [""]


class Status(IntEnum):
    WAITING = 1
    FIRED = 2


class Thing(msgspec.Struct):
    pass


async def test_many_timers_are_armed_and_ended_in_few_calls() -> None:
    runs = 200
    clock = FakeClock()
    builder = Builder("w", Thing, Status)

    @builder.timeout(Status.WAITING, timedelta(hours=1), to=Status.FIRED)
    async def fire(run: Run[Thing, Status], now: datetime) -> Status:
        return Status.FIRED

    async with MemoryBackend() as memory:
        store = Store()
        backend = Backend(memory.record_store, memory.event_streamer, memory.role_scheduler, store)
        wf = builder.build(backend, clock=clock)
        async with wf.running():
            run_ids = await asyncio.gather(*(wf.trigger(f"f{n}") for n in range(runs)))
            async with asyncio.timeout(PATIENCE.total_seconds()):
                while len(await store.ids()) < runs:
                    await asyncio.sleep(0)
            clock.advance(timedelta(hours=1))
            for n, run_id in enumerate(run_ids):
                await wf.wait_for(f"f{n}", Status.FIRED, run_id=run_id, timeout=PATIENCE)
    calls = [name for name, _ in store.calls]
    assert calls.count("create") < runs / 4
    assert calls.count("cancel") < runs / 4
