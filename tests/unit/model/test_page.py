"""A page is a sequence of its items, with the cursor of the next one."""

from collections.abc import Sequence

import pytest

from workflow import Page


def test_a_page_is_a_sequence() -> None:
    page = Page("abc", "cursor")
    assert isinstance(page, Sequence)
    assert (len(page), page[0], page[-1], page[1:], list(page)) == (3, "a", "c", ("b", "c"), ["a", "b", "c"])
    assert "b" in page
    assert page.index("c") == 2
    assert page.next == "cursor"
    with pytest.raises(IndexError):
        page[3]


def test_a_page_keeps_what_it_was_made_of() -> None:
    made_of = ["a"]
    page = Page(made_of)
    made_of.append("b")
    assert (list(page), page.next) == (["a"], None)
    assert list(Page(letter for letter in "ab")) == ["a", "b"]


def test_an_empty_page_is_false_and_the_last_one() -> None:
    assert not Page()
    assert Page().next is None


def test_pages_are_equal_to_sequences_of_the_same_items() -> None:
    assert Page([1, 2], "x") == Page([1, 2], "y") == [1, 2]
    assert Page([1, 2]) == (1, 2)
    assert Page([1]) != [2]
    assert Page([1]) != "1"
    with pytest.raises(TypeError):
        hash(Page())


def test_a_page_shows_its_items_and_its_cursor() -> None:
    assert repr(Page([1], "x")) == "Page([1], next='x')"
