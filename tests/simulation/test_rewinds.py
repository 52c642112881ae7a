"""The store goes back in time, among the other faults; then none: every run comes to its end, with a sound history."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from workflow._engine.transitions import Transitions
from workflow._model.change import Note
from workflow._processes.finished_versions import FinishedVersions
from workflow_adapters.memory import MemoryRecordStore

from .simulate import simulate


@pytest.mark.parametrize("start", range(0, 40, 10))
def test_every_run_of_a_store_that_went_back_comes_to_its_end(start: int) -> None:
    went_back = 0
    for seed in range(start, start + 10):
        result = simulate(seed, liveness=True, rewinds=True)
        assert not result.complaints, f"python -m tests.simulation --mode rewinds --seed {seed}: {result.complaints}"
        went_back += sum("goes back in time" in line for line in result.trace)
    assert went_back >= 10


def _memory_outlives_the_store() -> AbstractContextManager[object]:
    """Consumers keep what they have finished, and judge by it what the sweeper sends."""
    stack = ExitStack()
    stack.enter_context(patch.object(FinishedVersions, "clear", lambda self: None))
    stack.enter_context(patch.object(Transitions, "emitted", _unmarked(Transitions.emitted)))
    return stack


def _unmarked(real: Any) -> Any:
    def emitted(*args: Any, **options: Any) -> Note:
        note: Note = real(*args, **options)
        return note if note.event is None else replace(note, event=replace(note.event, swept=False))

    return emitted


def _versions_are_told_apart_by_their_number() -> AbstractContextManager[object]:
    """A handler that was at work when the store went back commits onto another version of the same number."""
    real = MemoryRecordStore.store

    async def store(self: Any, changes: Any) -> Any:
        return await real(self, [replace(change, base_attempt="") for change in changes])

    return patch.object(MemoryRecordStore, "store", store)


@pytest.mark.parametrize(
    ("planted", "seed"), [(_memory_outlives_the_store, 0), (_versions_are_told_apart_by_their_number, 2)]
)
def test_a_bug_that_only_a_rewind_shows_is_noticed(
    planted: Callable[[], AbstractContextManager[object]], seed: int
) -> None:
    """Hunts on through 100 seeds if the one that noticed it first does not any more."""
    for tried in (seed, *range(100)):
        with planted():
            if simulate(tried, liveness=True, rewinds=True).complaints:
                return
    raise AssertionError("100 seeds did not notice it")
