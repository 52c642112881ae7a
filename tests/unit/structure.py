"""The structure of the sources: which module imports which, and how large files and functions are.

Reads sources, imports nothing: a module that cannot be imported is judged too. Imports inside of functions and under
TYPE_CHECKING count like any other.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ENGINE, ADAPTERS = "workflow", "workflow_adapters"

ROOMS: tuple[frozenset[str], ...] = (
    frozenset({"_arguments", "errors", "options"}),
    frozenset({"_model"}),
    frozenset({"protocols"}),
    frozenset({"_declare"}),
    frozenset({"_engine"}),
    frozenset({"_processes"}),
    frozenset({"_verbs"}),
    frozenset({"_facade"}),
    frozenset({"_builder", "_diagram", "verify"}),
    frozenset({""}),  # workflow/__init__.py
    frozenset({"testing"}),
)
"""The rooms of the engine, lowest first: a module imports from its own room and from lower ones."""

EXCEPTIONS = {
    ("errors", "workflow._model.run_state"),
    ("options", "workflow._model.run_state"),
    ("errors", "workflow._arguments"),
    ("options", "workflow._arguments"),
}
"""What a room may import although it is not lower."""

OPEN_TO_ADAPTERS = frozenset({"workflow.protocols", "workflow.errors", "workflow.options"})
"""The modules of the engine that adapters may import."""

LONGEST_FILE, LONGEST_FUNCTION = 400, 50


@dataclass(frozen=True)
class Import:
    """One module imports another.

    Attributes:
        name: the name that is taken from it; empty when the module itself is imported.
    """

    importer: str
    imported: str
    name: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def modules(root: Path, package: str) -> dict[str, Path]:
    """Every module of a package, by its full name; a package goes by its own name."""
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(known: Mapping[str, Path]) -> list[Import]:
    """Every import of one known module by another."""
    return [one for module, path in known.items() for one in _imports_of(module, path, known)]


def _imports_of(module: str, path: Path, known: Mapping[str, Path]) -> Iterator[Import]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            targets = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base(package, node)
            # `from .. import errors` takes a module, `from ..errors import Conflict` a name of one.
            of = [(f"{base}.{alias.name}", alias.name) for alias in node.names]
            targets = [(full, "") if full in known else (base, name) for full, name in of]
        else:
            continue
        for target, name in targets:
            if target in known and target != module:
                yield Import(module, target, name, node.lineno)


def _base(package: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    above = parts[: len(parts) - node.level + 1]
    return ".".join([*above, *((node.module,) if node.module else ())])


def room(module: str) -> str:
    """The part of a package that a module belongs to: `_engine` for workflow._engine.commits."""
    return module.split(".")[1] if "." in module else ""


def level(module: str) -> int:
    """How high a module of the engine stands."""
    for number, rooms in enumerate(ROOMS):
        if room(module) in rooms:
            return number
    raise ValueError(f"{module} is in no room: give {room(module)!r} a place in ROOMS")


def wrong_directions(found: Sequence[Import]) -> list[str]:
    """The imports within the engine that do not point to a lower room."""
    return [
        f"{one}: {room(one.importer) or ENGINE} is not above {room(one.imported) or ENGINE}"
        for one in found
        if one.importer.split(".")[0] == one.imported.split(".")[0] == ENGINE
        and room(one.importer) != room(one.imported)
        and level(one.imported) >= level(one.importer)
        and (room(one.importer), one.imported) not in EXCEPTIONS
    ]


def private_imports(found: Sequence[Import]) -> list[str]:
    """The imports of adapters that reach for more than the ports, the errors, the options and their kit."""
    wrong = []
    for one in found:
        if not one.importer.startswith(f"{ADAPTERS}."):
            continue
        if one.imported.startswith(f"{ADAPTERS}."):
            allowed = room(one.imported) == room(one.importer) or (
                room(one.imported) == "kit" and "._" not in one.imported and not one.name.startswith("_")
            )
        else:
            allowed = one.imported in OPEN_TO_ADAPTERS and not one.name.startswith("_")
        if not allowed:
            wrong.append(f"{one} ({one.name})")
    return wrong


def upward_imports(found: Sequence[Import]) -> list[str]:
    """The imports of adapters by the engine; only its kit for tests builds on one."""
    return [
        str(one)
        for one in found
        if one.importer.split(".")[0] == ENGINE
        and one.imported.split(".")[0] == ADAPTERS
        and room(one.importer) != "testing"
    ]


def circles(found: Sequence[Import]) -> list[list[str]]:
    """Groups of modules that import each other, however long the way round."""
    edges: dict[str, set[str]] = {}
    for one in found:
        edges.setdefault(one.importer, set()).add(one.imported)
    reachable = {module: _reachable(module, edges) for module in edges}
    groups = {
        tuple(sorted(other for other in of if module in reachable.get(other, ())))
        for module, of in reachable.items()
        if module in of
    }
    return sorted(map(list, groups))


def _reachable(module: str, edges: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = list(edges[module])
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += edges.get(one, ())
    return found


def too_large(path: Path) -> list[str]:
    """The file if it is too long, and each function in it that is.

    A function is counted from its `def` line to its last one, arguments included; its docstring is not counted.
    """
    text = path.read_text()
    lines = text.count("\n")
    found = [f"{path.name} has {lines} lines"] if lines > LONGEST_FILE else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = _lines(node) - (_lines(node.body[0]) if ast.get_docstring(node) else 0)
            if length > LONGEST_FUNCTION:
                found.append(f"{path.name}:{node.lineno} {node.name} has {length} lines")
    return found


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or 0) - node.lineno + 1
