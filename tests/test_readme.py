"""The first program of the README is short; that it runs as printed is proved with all others in `tests/docs`."""

from pathlib import Path

from tests.docs.pages import read

README = read(Path(__file__).parents[1] / "README.md")


def test_the_first_program_is_short_and_says_what_it_prints() -> None:
    (program,) = README.of("")
    assert len([line for line in program.text.splitlines() if line.strip()]) < 40
    assert program.output
