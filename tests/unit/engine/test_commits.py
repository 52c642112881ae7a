"""How changes are gathered into batches, judged from outside: what reaches the store, and what each waiter hears."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Literal

import pytest

from workflow import Builder, Run
from workflow._engine.commits import BATCH, WORTHWHILE, Commits
from workflow._engine.log import SafeLogger
from workflow._model.change import Change, NewVersion, Note, Outcome, Verdict
from workflow._verbs import callback, steer, trigger
from workflow.errors import Unavailable
from workflow.protocols import Backend
from workflow_adapters.conformance._values import created
from workflow_adapters.memory import MemoryEventStreamer, MemoryRecordStore, MemoryRoleScheduler

LOGGER = SafeLogger(logging.getLogger("test.commits"))


class Status(IntEnum):
    ASKED = 1
    DONE = 2


class Watched(MemoryRecordStore):
    """A store that takes a turn of the loop for a batch, longer while it is not `open`, and remembers which batches
    were there at the same time."""

    def __init__(self, writers: int) -> None:
        super().__init__()
        self.writers = writers
        self.under_way: list[list[str]] = []
        self.most = 0
        self.twice: list[str] = []
        self.open = asyncio.Event()
        self.open.set()

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        runs = [change.run_id for change in changes]
        self.under_way.append(runs)
        self.most = max(self.most, len(self.under_way))
        everywhere = [run for batch in self.under_way for run in batch]
        self.twice += [run for run in set(everywhere) if everywhere.count(run) > 1]
        try:
            await self.open.wait()
            await asyncio.sleep(0)
            return await super().store(changes)
        finally:
            self.under_way.remove(runs)


def commits(store: MemoryRecordStore) -> Commits:
    return Commits(store, lambda version: None, lambda why: None, lambda: 0.5, LOGGER)


def note(run_id: str) -> Note:
    return Note(run_id=run_id, version=1, skipped=True)


async def test_one_change_after_the_other_is_answered() -> None:
    # The waiter wakes before the writer that answered it has left the set of writers.
    group = commits(MemoryRecordStore())
    async with asyncio.timeout(10):
        for number in range(3):
            await group.apply(note(str(number)))
        await group.flush()


async def test_two_batches_at_once_never_hold_the_same_run() -> None:
    store = Watched(writers=2)
    group = commits(store)
    async with asyncio.timeout(10):
        for _ in range(3):
            await asyncio.gather(*(group.apply(note(str(number % 700))) for number in range(1400)))
    assert store.most == 2
    assert not store.twice


async def test_a_store_that_wants_one_batch_at_once_gets_one() -> None:
    store = Watched(writers=1)
    group = commits(store)
    async with asyncio.timeout(10):
        await asyncio.gather(*(group.apply(note(str(number))) for number in range(4 * WORTHWHILE)))
    assert store.most == 1


async def test_a_change_that_waits_for_another_of_its_run_keeps_its_place() -> None:
    """At the end of the queue it would wait behind all that came later, and changes of one run would overtake it."""
    store = Watched(writers=1)
    store.open.clear()
    group = commits(store)
    written: list[int] = []

    def write(number: int) -> "asyncio.Future[None]":
        answer = group.apply(Note(run_id="run", version=number, skipped=True))

        async def wait() -> None:
            await answer
            written.append(number)

        return asyncio.ensure_future(wait())

    async with asyncio.timeout(10):
        first = write(1)
        while not store.under_way:
            await asyncio.sleep(0)
        # Two of the run at the front, more than a batch of others behind them, and one of the run at the end.
        two = [write(2), write(3)]
        others = [asyncio.ensure_future(group.apply(note(f"other {number}"))) for number in range(BATCH + 100)]
        last = write(4)
        store.open.set()
        await asyncio.gather(first, *two, *others, last)
    assert written == [1, 2, 3, 4]


async def test_only_what_was_written_is_passed_on_and_not_what_another_wrote_under_the_same_attempt() -> None:
    passed_on: list[NewVersion] = []
    group = Commits(MemoryRecordStore(), passed_on.append, lambda why: None, lambda: 0.5, LOGGER)
    first, second = created("one", object=b"1"), created("one", object=b"2")
    async with asyncio.timeout(10):
        outcomes = [await group.apply(first), await group.apply(second)]
    assert [outcome.verdict for outcome in outcomes] == [Verdict.APPLIED, Verdict.ALREADY_APPLIED]
    assert passed_on == [first]


async def test_a_cancelled_waiter_cancels_no_write() -> None:
    store = Watched(writers=1)
    store.open.clear()
    group = commits(store)
    cancelled, kept = (asyncio.ensure_future(group.apply(change)) for change in (created("one"), created("two")))
    async with asyncio.timeout(10):
        while not store.under_way:
            await asyncio.sleep(0)
        assert store.under_way == [["one", "two"]]
        cancelled.cancel()
        await asyncio.wait([cancelled])
        store.open.set()
        assert (await kept).ok
        await group.flush()
    assert cancelled.cancelled()
    assert set(await store.lookup(["one", "two"])) == {"one", "two"}


class Away(MemoryRecordStore):
    """A store that can be read and not be written to, once it has been cut off."""

    cut_off = False

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        if self.cut_off:
            raise Unavailable("cut off")
        return await super().store(changes)


async def test_every_verb_gives_up_when_the_store_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (trigger, callback, steer):
        monkeypatch.setattr(module, "VERB_DEADLINE", timedelta(seconds=0.2))
    builder: Builder[dict[str, int], Status] = Builder("away", dict, Status)

    @builder.callback(Status.ASKED)
    async def answer(run: Run[dict[str, int], Status], payload: bytes) -> Literal[Status.DONE]:
        return Status.DONE

    store = Away()
    wf = builder.build(Backend(store, MemoryEventStreamer(), MemoryRoleScheduler()))
    run_id = await wf.trigger("customer")
    store.cut_off = True
    verbs = (
        lambda: wf.trigger("another"),
        lambda: wf.callback("customer", Status.ASKED, run_id=run_id),
        lambda: wf.pause(run_id),
        lambda: wf.cancel(run_id),
    )
    async with asyncio.timeout(20):
        for verb in verbs:
            with pytest.raises(Unavailable):
                await verb()
        await wf._engine.commits.flush()
    assert (await wf.get(run_id)).version == 1
