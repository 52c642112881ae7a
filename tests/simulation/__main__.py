"""Run seeds: `python -m tests.simulation --seeds 2000`, or one again: `--seed 17 --mode liveness`."""

import argparse
import hashlib
import sys
import time

from .simulate import Result, simulate

MODES = {"safety": {}, "liveness": {"liveness": True}, "rewinds": {"liveness": True, "rewinds": True}}
USUAL = ("safety", "liveness")


def main() -> int:
    """Run what was asked for; 1 if a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many in total, half safety, half liveness")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this one and print its trace")
    parser.add_argument("--mode", choices=tuple(MODES), help="only these")
    options = parser.parse_args()
    modes = [options.mode] if options.mode else list(USUAL)
    if options.seed is not None:
        return _replay(options.seed, modes)
    return _many(range(options.start, options.start + options.seeds // len(modes)), modes)


def _replay(seed: int, modes: list[str]) -> int:
    failed = 0
    for mode in modes:
        result = simulate(seed, **MODES[mode])
        print(result.plan, *result.trace, *_lines(mode, result), sep="\n")
        failed |= bool(result.complaints)
    return failed


def _lines(mode: str, result: Result) -> list[str]:
    seed = result.plan.seed
    verdict = [f"FAILED {mode} seed {seed}: {why}" for why in result.complaints] or [f"{mode} seed {seed}: clean"]
    if result.complaints:
        verdict.append(f"again: python -m tests.simulation --mode {mode} --seed {seed}")
    return verdict


def _many(seeds: range, modes: list[str]) -> int:
    began, failed = time.perf_counter(), 0
    count, runs, versions, kills, virtual = 0, 0, 0, 0, 0.0
    digest = hashlib.sha256()
    for seed in seeds:
        for mode in modes:
            result = simulate(seed, **MODES[mode])
            count += 1
            runs, versions, kills = runs + result.runs, versions + result.versions, kills + result.kills
            virtual += result.seconds
            digest.update(result.digest.encode())
            if result.complaints:
                failed += 1
                print(*_lines(mode, result), sep="\n", flush=True)
    took = time.perf_counter() - began
    print(
        f"{count} seeds ({' and '.join(modes)}), {failed} failed; {runs} runs, {versions} versions, {kills} kills, "
        f"{virtual:.0f} virtual seconds in {took:.0f} s"
    )
    # The same seeds print the same one wherever they run.
    print(f"digest of all traces: {digest.hexdigest()}")
    return 1 if failed else 0


sys.exit(main())
