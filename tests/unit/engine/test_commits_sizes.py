"""Batches are bounded in bytes, and one that takes its connection with it is made smaller: no other waits for it."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from tests.e2e.virtual import virtually
from workflow._engine.commits import BATCH, BATCH_BYTES, LONGEST_RETRY, Commits
from workflow._engine.log import SafeLogger
from workflow._model.change import BUSY, Change, NewVersion, Outcome
from workflow.errors import OutcomeUnknown, Unavailable
from workflow_adapters.conformance._values import created, moved
from workflow_adapters.memory import MemoryRecordStore

LOGGER = SafeLogger(logging.getLogger("test.commits"))
MB = 2**20


class Fragile(MemoryRecordStore):
    """A store whose connection dies with batches that are too large, and with every batch that holds "poison".

    Attributes:
        batches: numbers of bytes and of changes of each.
        alone: how often the poison came alone.
    """

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.most, self.error = most, error
        self.batches: list[tuple[int, int]] = []
        self.alone = 0

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        size = sum(len(change.record.object) for change in changes if isinstance(change, NewVersion))
        self.batches.append((size, len(changes)))
        poisoned = any(change.run_id == "poison" for change in changes)
        self.alone += poisoned and len(changes) == 1
        await asyncio.sleep(0.1)
        if poisoned or size > self.most:
            raise self.error
        return await super().store(changes)


def commits(store: MemoryRecordStore) -> Commits:
    return Commits(store, lambda version: None, lambda why: None, lambda: 0.5, LOGGER)


async def test_a_batch_holds_so_many_bytes_of_objects_beside_its_first() -> None:
    store = Fragile(1000 * MB, Unavailable("too large"))
    group = commits(store)
    sizes = [9, 9, 1, 7, 1, 0, 3, 6]
    changes = [created(str(place), object=bytes(size * MB)) for place, size in enumerate(sizes)]
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(*(group.apply(change) for change in changes))
    assert all(outcome.ok for outcome in outcomes)
    assert BATCH_BYTES == 8 * MB
    # 9 with 1, 7 and 0; 9 with 1 and 3; 6.
    assert store.batches == [(17 * MB, 4), (13 * MB, 3), (6 * MB, 1)]


async def test_small_changes_do_not_wait_for_large_ones_and_none_overtakes_its_own_run() -> None:
    store = Fragile(1000 * MB, Unavailable("too large"))
    group = commits(store)
    first = created("run", object=bytes(9 * MB))
    answered: list[str] = []

    async def write(name: str, change: Change) -> None:
        await group.apply(change)
        answered.append(name)

    large = [(f"large {number}", created(f"large {number}", object=bytes(9 * MB))) for number in range(3)]
    second = moved(first.record, object=b"")
    async with asyncio.timeout(10):
        await asyncio.gather(
            *(write(*one) for one in [*large, ("first", first), ("second", second), ("small", created("small"))])
        )
    assert answered == ["large 0", "small", "large 1", "large 2", "first", "second"]
    assert (await store.lookup(["run"]))["run"].version == 2


@pytest.mark.parametrize("error", [Unavailable("gone"), OutcomeUnknown("gone")], ids=lambda error: type(error).__name__)
def test_a_batch_that_dies_is_sent_again_in_halves(error: Exception) -> None:
    async def scenario() -> None:
        store = Fragile(MB, error)
        group = commits(store)
        outcomes = await asyncio.gather(*(group.apply(created(str(n), object=bytes(MB // 4))) for n in range(32)))
        assert all(outcome.ok for outcome in outcomes)
        assert [count for _, count in store.batches][:4] == [32, 16, 8, 4]

    virtually(scenario())


@pytest.mark.parametrize("error", [Unavailable("gone"), OutcomeUnknown("gone")], ids=lambda error: type(error).__name__)
def test_a_change_that_kills_every_connection_keeps_no_other_run_waiting(error: Exception) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        store = Fragile(MB, error)
        group = commits(store)
        runs = [str(number) for number in range(BATCH)]
        runs.insert(300, "poison")
        waiting = {run_id: asyncio.ensure_future(group.apply(created(run_id, object=b""))) for run_id in runs}
        poison = waiting.pop("poison")
        async with asyncio.timeout(60):
            assert all(outcome.ok for outcome in await asyncio.gather(*waiting.values()))
        sent = len(store.batches)
        for number in range(20):
            began = loop.time()
            assert (await group.apply(created(f"late {number}"))).ok
            assert loop.time() - began < 0.2, "it shared a batch with the poison"
        assert len(store.batches) - sent < 30, "the poison is sent less and less often"
        assert not poison.done()
        poison.cancel()  # nobody waits for it any more: it is given up
        await group.flush()

    virtually(scenario())


def test_a_long_outage_ends_in_large_batches_again() -> None:
    async def scenario() -> None:
        store = Fragile(-1, Unavailable("away"))
        group = commits(store)
        waiting = [asyncio.ensure_future(group.apply(created(str(number)))) for number in range(3 * BATCH)]
        await asyncio.sleep(60)
        assert len(store.batches) < 60
        store.most, before = MB, len(store.batches)
        await asyncio.gather(*waiting)
        assert len(store.batches) - before < 60
        assert max(count for _, count in store.batches[before:]) >= BATCH // 4

    virtually(scenario())


def test_a_row_that_stays_held_is_asked_for_less_and_less_often() -> None:
    class Held(MemoryRecordStore):
        tries = 0
        free = False

        async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
            self.tries += 1
            return await super().store(changes) if self.free else [BUSY] * len(changes)

    async def scenario() -> None:
        loop, store = asyncio.get_running_loop(), Held()
        waiting = asyncio.ensure_future(commits(store).apply(created("run")))
        await asyncio.sleep(0.5)
        assert store.tries >= 3, "a short lock costs a short wait"
        await asyncio.sleep(60)
        assert store.tries < 60
        store.free, freed = True, loop.time()
        assert (await waiting).ok
        assert loop.time() - freed <= LONGEST_RETRY * 1.5

    virtually(scenario())
