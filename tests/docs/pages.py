"""The pages that users read, and the Python in them.

The word after `python` in a fence says what a block is:

- none: a complete program. It is run; a `text` fence directly below it is its output, exactly.
- `fragment`: a part of a program. Both type checkers read it below the first program of its page, in an async function
  that has `wf`, `backend` and `run` of that program; names of `workflow` and `workflow.testing` need no import.
- `test`: a test file, run by pytest.
- a file name: saved under that name for the programs and tests of the page.

An HTML comment that begins with `<!-- python` holds what fragments refer to and readers need not see.
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import workflow
import workflow.testing

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(ROOT.glob("docs/**/*.md"))
SERVERS_NEEDED = frozenset({"postgres.md"})
"""Pages whose programs need a server that is not there: theirs are compiled only."""

_FENCE = re.compile(r"^```(\w*)[ ]?([\w.]*)\n(.*?)^```$(?:\n+```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)

_HIDDEN = re.compile(r"^<!-- python\n(.*?)^-->$", re.DOTALL | re.MULTILINE)

_PRELUDE = """\
from __future__ import annotations
import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from workflow_adapters.memory import *
from workflow_adapters.sqlite import *
"""


@dataclass(frozen=True)
class Block:
    """One fence of Python: what kind it is, its text, and what is said to be its output."""

    kind: str
    text: str
    output: str | None
    line: int


@dataclass(frozen=True)
class Page:
    """One page."""

    path: Path
    blocks: tuple[Block, ...]
    hidden: str

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    def of(self, kind: str) -> list[Block]:
        return [block for block in self.blocks if block.kind == kind]

    def files(self) -> dict[str, str]:
        """What must lie beside the programs and tests of this page."""
        return {block.kind: block.text for block in self.blocks if block.kind.endswith(".py")}

    def programs(self) -> list[str]:
        """The programs of the page, for type checkers."""
        return [_without_start(block.text) for block in self.of("")]

    def module(self) -> str:
        """The fragments for type checkers: below the first program or file, each in a function of its own."""
        first = next(iter([*self.programs(), *self.files().values()]), "")
        names = re.search(r"Builder\([^,]+, ([A-Z]\w+|dict), (\w+)\)", first)
        of = f"[{names[1]}, {names[2]}]" if names else "[Any, Any]"
        parts = [_PRELUDE, _imports(first), first, self.hidden]
        for number, block in enumerate(self.of("fragment")):
            head = f"async def _fragment_{number}(wf: Workflow{of}, backend: Backend, run: Run{of}) -> None:\n"
            parts.append(f"# {self.path.name} line {block.line}\n{head}{textwrap.indent(block.text, '    ')}")
        return "\n\n".join(parts)


def _without_start(text: str) -> str:
    return re.sub(r"^asyncio\.run\(main.*\n", "", text, flags=re.MULTILINE)


def _imports(program: str) -> str:
    """All public names but those that the program defines itself."""
    taken = set(re.findall(r"^(?:class|async def|def) (\w+)", program, re.MULTILINE))
    lines = []
    for module in (workflow, workflow.testing):
        names = ", ".join(name for name in module.__all__ if name not in taken)
        lines.append(f"from {module.__name__} import {names}")
    return "\n".join(lines)


def read(path: Path) -> Page:
    """A page with its blocks of Python."""
    text = path.read_text()
    blocks = [
        Block(found[2], found[3], found[4], text.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(text)
        if found[1] == "python"
    ]
    return Page(path, tuple(blocks), "\n".join(_HIDDEN.findall(text)))


ALL = [read(path) for path in PAGES]
RUNNABLE = [page for page in ALL if page.path.name not in SERVERS_NEEDED]
