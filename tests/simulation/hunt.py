"""Finds for each planted bug the first seed that notices it: `python -m tests.simulation.hunt [name …]`."""

import sys
import time

from .bugs import BUGS, relevant
from .simulate import simulate
from .world import Plan

LIMIT = 500


def hunt(name: str, patience: float = 60.0) -> tuple[str, int, str] | None:
    """Mode, seed and complaint of the first finding within `LIMIT` seeds."""
    began = time.perf_counter()
    with BUGS[name]():
        for seed in range(LIMIT):
            for liveness in (False, True):
                if not relevant(name, Plan.draw(seed, liveness=liveness)):
                    continue
                result = simulate(seed, liveness=liveness)
                if result.complaints:
                    return "liveness" if liveness else "safety", seed, result.complaints[0]
            if time.perf_counter() - began > patience:
                return None
    return None


if __name__ == "__main__":
    for wanted in sys.argv[1:] or BUGS:
        print(f"{wanted!r}: {hunt(wanted)}", flush=True)
