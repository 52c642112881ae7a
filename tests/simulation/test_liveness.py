"""Faults, and then none: every runnable run comes to its end within a bound of virtual time."""

import pytest

from .simulate import simulate


@pytest.mark.parametrize("start", range(0, 150, 25))
def test_every_seed_comes_to_its_end(start: int) -> None:
    for seed in range(start, start + 25):
        result = simulate(seed, liveness=True)
        assert not result.complaints, f"python -m tests.simulation --mode liveness --seed {seed}: {result.complaints}"


def test_a_seed_replays_identically() -> None:
    first, second = (simulate(4, liveness=True) for _ in range(2))
    assert first.trace
    assert first.trace == second.trace
