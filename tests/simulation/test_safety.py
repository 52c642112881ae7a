"""Faults all the time: nothing acknowledged is lost, repeated, reordered or overwritten."""

import pytest

from .simulate import simulate


@pytest.mark.parametrize("start", range(0, 150, 25))
def test_no_seed_breaks_the_promise(start: int) -> None:
    for seed in range(start, start + 25):
        result = simulate(seed, liveness=False)
        assert not result.complaints, f"python -m tests.simulation --mode safety --seed {seed}: {result.complaints}"


def test_a_seed_replays_identically() -> None:
    first, second = (simulate(18, liveness=False) for _ in range(2))
    assert first.trace
    assert first.trace == second.trace
    assert simulate(20, liveness=False).trace != first.trace
