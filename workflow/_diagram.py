"""A workflow's graph as a Mermaid state diagram.

The bytes are a promise: checked-in diagrams are compared with what this draws, so blanks and tabs stay as they are.
"""

from collections.abc import Callable
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import Any

from . import _arguments
from ._declare.definition import Definition, has_own_text
from ._facade.workflow import Workflow
from ._model.graph import StatusGraph


class Direction(Enum):
    """Where the arrows of a diagram point."""

    TOP_TO_BOTTOM = "TB"
    LEFT_TO_RIGHT = "LR"
    RIGHT_TO_LEFT = "RL"
    BOTTOM_TO_TOP = "BT"


def diagram(wf: Workflow[Any, Any], direction: Direction = Direction.LEFT_TO_RIGHT) -> str:
    """The workflow's graph as a Mermaid state diagram in a Markdown fence.

    Raises:
        TypeError: `wf` is not a `Workflow`, or `direction` not a `Direction`.
    """
    if not isinstance(wf, Workflow):
        raise TypeError(f"cannot create a diagram of {wf!r}: not a Workflow")
    _arguments.instance("direction", direction, Direction)
    definition: Definition[Any, Any] = wf._engine.definition  # noqa: SLF001 - drawing needs no public accessor
    return render(definition.name, definition.graph, lambda status: _label(definition, status), direction)


def create_diagram(wf: Workflow[Any, Any], path: str | Path, direction: Direction = Direction.LEFT_TO_RIGHT) -> None:
    """Write the diagram to a file, making its directories.

    Raises:
        TypeError: `wf` is not a `Workflow`; no file is made.
    """
    write(diagram(wf, direction), path)


def render(
    name: str,
    graph: StatusGraph,
    describe: Callable[[int], str],
    direction: Direction = Direction.LEFT_TO_RIGHT,
) -> str:
    """The diagram as a fenced Mermaid block, without a newline at its end.

    Statuses come in ascending order, edges in the order of declaration; an edge declared twice is drawn twice.

    Args:
        name: of the workflow, for the title.
        graph: what to draw.
        describe: the text of a status; a blank goes before each capital but the first.
        direction: where the arrows point.
    """
    head = (
        f"```mermaid\n---\ntitle: Workflow diagram of {name}\n---\nstateDiagram-v2\n\tdirection {direction.value}\n\t"
    )
    nodes = "".join(f"\n\t{node}: {_spaced(describe(node))}" for node in graph.nodes())
    edges = groupby(graph.info().transitions, key=lambda edge: edge[0])
    moves = "".join(_moves(origin, [destination for _, destination in group]) for origin, group in edges)
    return f"{head}{nodes}\n\t{moves}\n```"


def write(text: str, path: str | Path) -> None:
    """Put a diagram into a file, replacing what is there and creating directories on the way."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _spaced(text: str) -> str:
    return text[:1] + "".join(f" {letter}" if letter.isupper() else letter for letter in text[1:])


def _moves(origin: int, destinations: list[int]) -> str:
    if len(destinations) == 1:
        return f"\n\t{origin}-->{destinations[0]}"
    branches = "".join(f"\n    {origin}_branching --> {destination}" for destination in destinations)
    return f"\n    state {origin}_branching <<choice>>\n    {origin} --> {origin}_branching{branches}\n\t"


def _label(definition: Definition[Any, Any], status: int) -> str:
    """The text that the drawing splits at capitals: "OtpVerified" becomes "Otp Verified"."""
    text = definition.status_text(status)
    return text if has_own_text(definition.status_type) else text.replace(" ", "")
