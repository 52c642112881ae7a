"""What the README shows is what happens."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def snippets() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_first_program_runs_as_printed(tmp_path: Path) -> None:
    (program,) = snippets()
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "DONE Guide(read=True)\n"


def test_the_first_program_is_short() -> None:
    (program,) = snippets()
    assert len([line for line in program.splitlines() if line.strip()]) < 40


def test_every_link_to_a_file_leads_somewhere() -> None:
    for page in [README, *README.parent.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([\w./-]+\.\w+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
