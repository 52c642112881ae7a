"""How changes are gathered into batches, judged from outside: what reaches the store, and what each waiter hears."""

import asyncio
import logging
from collections.abc import Sequence

from workflow._change import Change, Mark, Outcome
from workflow._commits import WORTHWHILE, Commits
from workflow_adapters.memory import MemoryRecordStore


class Watched(MemoryRecordStore):
    """A store that takes a turn of the loop for a batch, and remembers which batches were there at the same time."""

    def __init__(self, writers: int) -> None:
        super().__init__()
        self.writers = writers
        self.under_way: list[list[str]] = []
        self.most = 0
        self.twice: list[str] = []

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        runs = [change.run_id for change in changes]
        self.under_way.append(runs)
        self.most = max(self.most, len(self.under_way))
        everywhere = [run for batch in self.under_way for run in batch]
        self.twice += [run for run in set(everywhere) if everywhere.count(run) > 1]
        try:
            await asyncio.sleep(0)
            return await super().store(changes)
        finally:
            self.under_way.remove(runs)


def commits(store: MemoryRecordStore) -> Commits:
    return Commits(store, lambda move: None, lambda: 0.5, logging.getLogger("test.commits"))


def mark(run_id: str) -> Mark:
    return Mark(run_id=run_id, version=1, skipped=True)


async def test_one_change_after_the_other_is_answered() -> None:
    # The waiter wakes before the writer that answered it has left the set of writers.
    group = commits(MemoryRecordStore())
    async with asyncio.timeout(10):
        for number in range(3):
            await group.apply(mark(str(number)))
        await group.flush()


async def test_two_batches_at_once_never_hold_the_same_run() -> None:
    store = Watched(writers=2)
    group = commits(store)
    async with asyncio.timeout(10):
        for _ in range(3):
            await asyncio.gather(*(group.apply(mark(str(number % 700))) for number in range(1400)))
    assert store.most == 2
    assert not store.twice


async def test_a_store_that_wants_one_batch_at_once_gets_one() -> None:
    store = Watched(writers=1)
    group = commits(store)
    async with asyncio.timeout(10):
        await asyncio.gather(*(group.apply(mark(str(number))) for number in range(4 * WORTHWHILE)))
    assert store.most == 1
