"""Finds for each planted bug the first seed that notices it: `python -m tests.simulation.hunt [name …]`."""

import sys
from collections.abc import Iterator
from typing import NamedTuple

from .bugs import BUGS, relevant
from .simulate import simulate
from .world import Plan

LIMIT = 500
"""Seeds within which a planted bug must be noticed: half safety, half liveness, as `--seeds 500` runs them."""


class Finding(NamedTuple):
    """A seed that notices a bug, and what it complains of."""

    mode: str
    seed: int
    complaint: str


def notice(name: str, mode: str, seed: int) -> Finding | None:
    """What this seed says with the bug planted; None if it has nothing to say."""
    with BUGS[name]():
        result = simulate(seed, liveness=mode == "liveness")
    return Finding(mode, seed, result.complaints[0]) if result.complaints else None


def hunt(name: str) -> Finding | None:
    """The first finding within `LIMIT` seeds; None if the bug escapes."""
    return next((found for mode, seed in _seeds(name) if (found := notice(name, mode, seed))), None)


def _seeds(name: str) -> Iterator[tuple[str, int]]:
    for seed in range(LIMIT // 2):
        for mode in ("safety", "liveness"):
            if relevant(name, Plan.draw(seed, liveness=mode == "liveness")):
                yield mode, seed


def main() -> int:
    """Print a line for each bug, to be remembered by the test; 1 if one escapes."""
    escaped = 0
    for name in sys.argv[1:] or BUGS:
        found = hunt(name)
        escaped += found is None
        said = f'("{found.mode}", {found.seed}),  # {found.complaint.splitlines()[0]}' if found else "ESCAPED"
        print(f'"{name}": {said}', flush=True)
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
