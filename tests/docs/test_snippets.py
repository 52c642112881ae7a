"""What the pages show is what happens: programs are run, tests pass, fragments pass both type checkers."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ALL, RUNNABLE, Block, Page, read

PROGRAMS = [(page, block) for page in RUNNABLE for block in page.of("")]
TESTS = [page for page in RUNNABLE if page.of("test")]


def ids(found: list[tuple[Page, Block]]) -> list[str]:
    return [f"{page.name}:{block.line}" for page, block in found]


def run(*arguments: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=110)


@pytest.mark.parametrize(("page", "block"), PROGRAMS, ids=ids(PROGRAMS))
def test_a_program_runs_and_prints_what_the_page_says(page: Page, block: Block, tmp_path: Path) -> None:
    for name, text in page.files().items():
        (tmp_path / name).write_text(text)
    (tmp_path / "program.py").write_text(block.text)
    ended = run("program.py", directory=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr
    if block.output is not None:
        assert ended.stdout == block.output


@pytest.mark.parametrize("page", TESTS, ids=[page.name for page in TESTS])
def test_the_tests_of_a_page_pass(page: Page, tmp_path: Path) -> None:
    for name, text in page.files().items():
        (tmp_path / name).write_text(text)
    for number, block in enumerate(page.of("test")):
        (tmp_path / f"test_{number}.py").write_text(block.text)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    ended = run("-m", "pytest", "-q", "-p", "no:cacheprovider", directory=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr


PLANTED = Page(Path("planted.md"), (Block("fragment", "await wf.trigger(7)\n", None, 1),), "")
"""A page that both type checkers must refuse: proof that they look at fragments at all."""

CHECKERS = {
    # `dict` as an object type is short enough for a page.
    "mypy": ("mypy", "--strict", "--allow-any-generics", "--no-error-summary", "--cache-dir", "cache", "."),
    "pyright": ("pyright", "--pythonpath", sys.executable, "."),
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_programs_and_fragments_pass_both_type_checkers(checker: str, tmp_path: Path) -> None:
    for page in [*RUNNABLE, PLANTED]:
        stem = page.path.stem.lower()
        for number, text in enumerate(page.programs()):
            (tmp_path / f"{stem}_program_{number}.py").write_text(text)
        if page.of("fragment"):
            (tmp_path / f"{stem}_fragments.py").write_text(page.module())
        for name, text in page.files().items():
            (tmp_path / name).write_text(text)
    output = run("-m", *CHECKERS[checker], directory=tmp_path).stdout
    wrong = [line for line in output.splitlines() if "error:" in line]
    assert wrong, output
    assert all("planted_fragments.py" in line for line in wrong), "\n".join(wrong)


def test_everything_called_python_is_python() -> None:
    for page in ALL:
        for block in page.blocks:
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
            compile(block.text, f"{page.name}:{block.line}", "exec", flags)


def test_kinds_of_blocks_are_known() -> None:
    for page in RUNNABLE:
        for block in page.blocks:
            known = block.kind in ("", "fragment", "test") or block.kind.endswith(".py")
            assert known, f"{page.name}:{block.line}: {block.kind!r}"


def test_a_block_is_read_with_its_kind_and_its_output(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "a\n```python\nprint(1)\n```\n\n```text\n1\n```\n\n```python fragment\nx\n```\n\n```text\nno\n```\n"
    )
    first, second = read(path).blocks
    assert (first.kind, first.text, first.output) == ("", "print(1)\n", "1\n")
    assert (second.kind, second.line) == ("fragment", 10)
