"""The simulation can fail: each planted bug is noticed, by the seed that noticed it first.

A seed that no longer notices its bug, because the world was changed, is found anew by `python -m
tests.simulation.hunt "name of the bug"`.
"""

import pytest

from .bugs import BUGS
from .simulate import simulate

NOTICED = {
    "no compare-and-swap": ("liveness", 0),
    "early ack": ("liveness", 19),
    "early ack through the fast lane": ("liveness", 30),
    "event lost without sweeper": ("liveness", 0),
    "sweeper re-runs a skipped step": ("liveness", 70),
    "sweeper floods a backlog": ("safety", 1),
    "timer lost in a fast save_and_repeat loop": ("liveness", 6),
    "timer of an old visit fires": ("liveness", 6),
    "paused timers starve live ones": ("liveness", 20),
    "a partition without an owner": ("liveness", 0),
    "starvation through the lane": ("liveness", 155),
    "stale lane object": ("safety", 0),
    "unknown outcome answered by a read": ("liveness", 1),
    "retry that forgets the attempt id": ("liveness", 2),
    "crash loop not counted": ("liveness", 4),
    "two live runs": ("liveness", 0),
    "schedule slot fired twice": ("safety", 29),
    "swallowed cancel": ("liveness", 2),
    "drain that never ends": ("liveness", 9),
}


@pytest.mark.parametrize("name", NOTICED)
def test_a_planted_bug_is_noticed(name: str) -> None:
    mode, seed = NOTICED[name]
    with BUGS[name]():
        result = simulate(seed, liveness=mode == "liveness")
    assert result.complaints, f'{name} was not noticed; look again: python -m tests.simulation.hunt "{name}"'


def test_every_planted_bug_has_its_seed() -> None:
    assert set(NOTICED) == set(BUGS)
