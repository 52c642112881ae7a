"""The diagram of a workflow, as text or in a file."""

from pathlib import Path
from typing import Any

from . import _arguments, _diagram
from ._definition import Definition, has_own_text
from ._diagram import Direction
from ._workflow import Workflow


def diagram(wf: Workflow[Any, Any], direction: Direction = Direction.LEFT_TO_RIGHT) -> str:
    """The workflow's graph as a Mermaid state diagram in a Markdown fence.

    Raises:
        TypeError: `wf` is not a `Workflow`, or `direction` not a `Direction`.
    """
    if not isinstance(wf, Workflow):
        raise TypeError(f"cannot create a diagram of {wf!r}: not a Workflow")
    _arguments.instance("direction", direction, Direction)
    definition: Definition[Any, Any] = wf._engine.definition  # noqa: SLF001 - drawing needs no public accessor
    return _diagram.render(definition.name, definition.graph, lambda status: _label(definition, status), direction)


def create_diagram(wf: Workflow[Any, Any], path: str | Path, direction: Direction = Direction.LEFT_TO_RIGHT) -> None:
    """Write the diagram to a file, making its directories.

    Raises:
        TypeError: `wf` is not a `Workflow`; no file is made.
    """
    _diagram.write(diagram(wf, direction), path)


def _label(definition: Definition[Any, Any], status: int) -> str:
    """The text that the drawing splits at capitals: "OtpVerified" becomes "Otp Verified"."""
    text = definition.status_text(status)
    return text if has_own_text(definition.status_type) else text.replace(" ", "")
