"""Tables in the docs say what the code says, and files stay small."""

import ast
import re
from pathlib import Path

import pytest

from workflow._runstate import TRANSITIONS

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("workflow/**/*.py"), *ROOT.glob("workflow_adapters/**/*.py")])


def test_the_table_of_run_states_is_the_one_in_the_code() -> None:
    """R-STATE-1, with Initiated to Cancelled allowed."""
    page = (ROOT / "docs/concepts.md").read_text()
    section = page.partition("## Run states")[2].partition("## ")[0]
    rows = re.findall(r"^\| ([A-Z][\w ]+) \| ([\w ,]+) \|$", section, re.MULTILINE)
    written = {origin: set(destinations.split(", ")) for origin, destinations in rows}
    assert written == {
        str(origin): {str(state) for state in states} for origin, states in TRANSITIONS.items() if states
    }


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_files_and_functions_stay_small_and_say_what_they_own(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= 400
    assert ast.get_docstring(tree), "a module opens by saying what it owns"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            assert (node.end_lineno or 0) - body[0].lineno < 50, node.name
