"""Mermaid diagrams, byte for byte."""

from pathlib import Path

import pytest

from workflow._diagram import Direction, render, write
from workflow._model.graph import StatusGraph

TEXTS = {6: "OTP Sent", 8: "Completed", 9: "Start", 10: "Middle", 11: "End"}


def graph(*edges: tuple[int, int]) -> StatusGraph:
    made = StatusGraph()
    for origin, destination in edges:
        made.add(origin, destination)
    return made


def test_a_diagram_with_one_branch() -> None:
    """R-DIAG-4, R-DIAG-5, R-DIAG-3: left to right unless said otherwise."""
    drawn = render("ex", graph((9, 10), (10, 11), (10, 8), (8, 6)), TEXTS.__getitem__)
    assert drawn == (
        "```mermaid\n---\ntitle: Workflow diagram of ex\n---\nstateDiagram-v2\n\tdirection LR\n\t"
        "\n\t6: O T P  Sent\n\t8: Completed\n\t9: Start\n\t10: Middle\n\t11: End\n\t"
        "\n\t9-->10"
        "\n    state 10_branching <<choice>>\n    10 --> 10_branching"
        "\n    10_branching --> 11\n    10_branching --> 8\n\t"
        "\n\t8-->6\n```"
    )


def test_a_diagram_with_two_branches_and_a_duplicate_edge() -> None:
    """R-DIAG-6: a step and a timeout to the same status are drawn twice."""
    drawn = render("d x", graph((9, 10), (9, 10), (10, 11), (10, 8)), TEXTS.__getitem__, Direction.TOP_TO_BOTTOM)
    assert drawn == (
        "```mermaid\n---\ntitle: Workflow diagram of d x\n---\nstateDiagram-v2\n\tdirection TB\n\t"
        "\n\t8: Completed\n\t9: Start\n\t10: Middle\n\t11: End\n\t"
        "\n    state 9_branching <<choice>>\n    9 --> 9_branching"
        "\n    9_branching --> 10\n    9_branching --> 10\n\t"
        "\n    state 10_branching <<choice>>\n    10 --> 10_branching"
        "\n    10_branching --> 11\n    10_branching --> 8\n\t"
        "\n```"
    )


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("camelCase", "camel Case"),
        ("thisIsATest", "this Is A Test"),
        ("Name Created", "Name  Created"),
        ("OTP Sent", "O T P  Sent"),
        ("überÄnderung", "über Änderung"),
        ("", ""),
    ],
)
def test_a_blank_goes_before_every_capital_but_the_first(text: str, drawn: str) -> None:
    """R-DIAG-7."""
    assert f"\n\t1: {drawn}\n" in render("x", graph((1, 2)), lambda _: text)


@pytest.mark.parametrize("direction", list(Direction))
def test_every_direction_is_drawn(direction: Direction) -> None:
    """R-DIAG-3."""
    assert f"\tdirection {direction.value}\n" in render("x", graph((1, 2)), str, direction)


def test_a_file_is_written_with_its_directories_and_replaced(tmp_path: Path) -> None:
    """R-DIAG-2."""
    path = tmp_path / "a" / "b" / "diagram.md"
    write("a longer text\n", path)
    write("ä\n", str(path))
    assert path.read_bytes() == "ä\n".encode()


def test_a_path_without_directories_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R-DIAG-2 fails here in the reference."""
    monkeypatch.chdir(tmp_path)
    write("x", "diagram.md")
    assert (tmp_path / "diagram.md").read_text() == "x"
