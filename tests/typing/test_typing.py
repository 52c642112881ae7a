"""What users write is accepted by both checkers, and what their graph does not allow is rejected by both."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def mypy(path: Path) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110).stdout


def pyright(path: Path) -> str:
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110).stdout


def errors(output: str, path: Path) -> set[int]:
    """The lines of the file that a checker complains about."""
    return {int(line) for line in re.findall(rf"{path.name}:(\d+):.*error", output)}


def marked(path: Path) -> set[int]:
    """The lines that must be rejected: a decorator that a checker blames stands for its function."""
    lines = path.read_text().splitlines()
    return {number for number, line in enumerate(lines, start=1) if "# error" in line}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_what_users_write_is_accepted(checker: Callable[[Path], str]) -> None:
    path = HERE / "accepted.py"
    output = checker(path)
    assert not errors(output, path), output


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_what_the_graph_does_not_allow_is_rejected(checker: Callable[[Path], str]) -> None:
    path = HERE / "rejected.py"
    output = checker(path)
    assert errors(output, path) == marked(path), output
