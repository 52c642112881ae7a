"""A seed does the same in every interpreter; otherwise a failure could not be run again."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _digest(hash_seed: int) -> str:
    command = [sys.executable, "-m", "tests.simulation", "--start", "20", "--seeds", "40"]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)
    said = [line for line in ended.stdout.splitlines() if line.startswith("digest of all traces: ")]
    assert len(said) == 1, ended.stdout + ended.stderr
    return said[0]


def test_interpreters_that_hash_strings_differently_see_the_same_traces() -> None:
    assert _digest(1) == _digest(2)
