"""No link between pages leads nowhere, every page can be reached, and the promise is the same everywhere."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

LINK = re.compile(r"(?<!!)\[[^]]*\]\(([^)\s]+)\)")


def without_code(path: Path) -> str:
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """What a heading can be linked by."""
    titles = re.findall(r"^#+ (.+)$", without_code(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(path: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", without_code(path))
    return [link for link in LINK.findall(text) if "://" not in link]


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in links(path):
        target, _, anchor = link.partition("#")
        found = (path.parent / target).resolve() if target else path
        assert found.exists(), link
        if anchor:
            assert anchor in anchors(found), link


def test_every_page_is_on_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    pages = {path for path in ROOT.glob("docs/*.md") if path != index}
    assert pages <= listed, sorted(path.name for path in pages - listed)


def promise(path: Path) -> str:
    quoted = re.search(r"^> Once a transition.*?(?=^[^>])", path.read_text(), re.DOTALL | re.MULTILINE)
    assert quoted, path
    return " ".join(quoted[0].replace(">", " ").split())


def test_the_promise_is_the_same_on_both_pages_that_make_it() -> None:
    assert promise(ROOT / "README.md") == promise(ROOT / "docs" / "design.md")
