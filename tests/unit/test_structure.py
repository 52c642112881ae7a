"""The rooms keep their order: imports point one way, adapters import nothing private, files stay small."""

import ast
import re
from pathlib import Path

import pytest

from tests.unit import structure

ROOT = Path(__file__).parents[2]
KNOWN = {**structure.modules(ROOT, structure.ENGINE), **structure.modules(ROOT, structure.ADAPTERS)}
FOUND = structure.imports(KNOWN)
SOURCES = sorted(KNOWN.values())


def test_imports_between_rooms_point_one_way() -> None:
    assert structure.wrong_directions(FOUND) == []


def test_adapters_import_only_the_ports_the_errors_the_options_and_their_kit() -> None:
    assert structure.private_imports(FOUND) == []


def test_the_engine_imports_no_adapter() -> None:
    assert structure.upward_imports(FOUND) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert structure.circles(FOUND) == []


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_files_and_functions_stay_small_and_say_what_they_own(path: Path) -> None:
    assert structure.too_large(path) == []
    assert ast.get_docstring(ast.parse(path.read_text())), "a module opens by saying what it owns"


# -- the checks notice ---------------------------------------------------------------------------------------------


FOLDER = re.compile(r"(?<!_)__")


def planted(directory: Path, **files: str) -> list[structure.Import]:
    """The imports of a tree of sources. "__" in a name ends a folder: workflow___engine__news is _engine/news.py."""
    for package in (structure.ENGINE, structure.ADAPTERS):
        (directory / package).mkdir()
        (directory / package / "__init__.py").touch()
    for name, text in files.items():
        path = directory.joinpath(*FOLDER.split(name)).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    known = {**structure.modules(directory, structure.ENGINE), **structure.modules(directory, structure.ADAPTERS)}
    return structure.imports(known)


@pytest.mark.parametrize(
    "text",
    [
        "from .._engine import commits",
        "from .._engine.commits import Commits",
        "from workflow._engine.commits import Commits",
        "import workflow._engine.commits",
        "def later():\n    from .._engine.commits import Commits",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .._engine.commits import Commits",
        "from ..errors import Conflict\nfrom .. import Builder",
    ],
)
def test_an_import_of_a_higher_room_is_found_however_it_is_written(text: str, tmp_path: Path) -> None:
    files = {"workflow___engine__commits": "", "workflow__errors": "", "workflow___declare__check": text}
    found = planted(tmp_path, **files)
    (wrong,) = structure.wrong_directions(found)
    assert wrong.startswith("workflow._declare.check:")


def test_imports_of_lower_rooms_and_of_the_same_room_are_in_order(tmp_path: Path) -> None:
    found = planted(
        tmp_path,
        workflow___engine__commits="from .._model.run import Run\nfrom ..errors import Conflict\nfrom .news import x",
        workflow___engine__news="",
        workflow___model__run="from .. import _arguments",
        workflow___model__run_state="",
        workflow___arguments="",
        workflow__errors="from ._model.run_state import RunState",
    )
    assert len(found) == 5
    assert structure.wrong_directions(found) == []
    assert structure.circles(found) == []


def test_only_what_is_listed_may_be_imported_against_the_order(tmp_path: Path) -> None:
    found = planted(tmp_path, workflow__errors="from ._model.run import Run", workflow___model__run="")
    assert len(structure.wrong_directions(found)) == 1


def test_a_room_without_a_place_is_refused(tmp_path: Path) -> None:
    found = planted(tmp_path, workflow___cellar__wine="from ..errors import Conflict", workflow__errors="")
    with pytest.raises(ValueError, match="_cellar"):
        structure.wrong_directions(found)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("from workflow._model.record import Record", True),
        ("from workflow import Record", True),
        ("from workflow.protocols.runs import Runs", True),
        ("from workflow.protocols import _HIDDEN", True),
        ("from ..other.shelf import Shelf", True),
        ("from ..kit._secret import secret", True),
        ("from ..kit.text import _check", True),
        ("from workflow.protocols import Record\nfrom workflow.errors import Conflict", False),
        ("from ..kit.text import check_text\nfrom .shelf import Shelf\nfrom . import shelf", False),
    ],
)
def test_a_private_import_of_an_adapter_is_found(text: str, wrong: bool, tmp_path: Path) -> None:
    found = planted(
        tmp_path,
        workflow___model__record="",
        workflow__protocols__runs="",
        workflow__errors="",
        workflow_adapters__mine__store=text,
        workflow_adapters__mine__shelf="",
        workflow_adapters__other__shelf="",
        workflow_adapters__kit__text="",
        workflow_adapters__kit___secret="",
    )
    assert bool(structure.private_imports(found)) is wrong


def test_an_adapter_in_the_engine_is_found_except_in_its_kit_for_tests(tmp_path: Path) -> None:
    found = planted(
        tmp_path,
        workflow___engine__commits="from workflow_adapters.memory import backend",
        workflow__testing__plugin="from workflow_adapters.memory import backend",
        workflow_adapters__memory__backend="",
    )
    (wrong,) = structure.upward_imports(found)
    assert wrong.startswith("workflow._engine.commits:1")


def test_a_circle_is_found_at_any_length(tmp_path: Path) -> None:
    found = planted(
        tmp_path,
        workflow___engine__one="from .two import x",
        workflow___engine__two="def f():\n    from . import three",
        workflow___engine__three="from workflow._engine.one import y",
        workflow___engine__apart="from .one import x",
    )
    assert structure.circles(found) == [["workflow._engine.one", "workflow._engine.three", "workflow._engine.two"]]


def test_a_file_or_function_that_is_too_long_is_found(tmp_path: Path) -> None:
    def function(lines: int) -> str:
        docstring = '    """One line.\n\n    Another.\n    """\n'
        return "@decorated\ndef long(\n    argument,\n):\n" + docstring + "    argument()\n" * (lines - 3)

    path = tmp_path / "long.py"
    path.write_text(function(50))
    assert structure.too_large(path) == []
    path.write_text(function(51))
    assert structure.too_large(path) == ["long.py:2 long has 51 lines"]
    path.write_text("one = 1\n" * 401)
    assert structure.too_large(path) == ["long.py has 401 lines"]
