"""The fair page of an outbox."""

import itertools

import pytest

from workflow_adapters.kit.outbox_page import fair_page, most_immediate


@pytest.mark.parametrize(
    ("immediate", "delayed", "limit", "expected"),
    [
        (3, 2, 10, "i0 i1 i2 d0 d1"),
        (9, 9, 4, "i0 i1 d0 d1"),
        (9, 9, 5, "i0 i1 i2 d0 d1"),
        (9, 1, 5, "i0 i1 i2 i3 d0"),
        (1, 9, 5, "i0 d0 d1 d2 d3"),
        (0, 9, 2, "d0 d1"),
        (9, 0, 2, "i0 i1"),
        (9, 9, 1, "i0"),
    ],
)
def test_each_kind_has_its_share(immediate: int, delayed: int, limit: int, expected: str) -> None:
    page = fair_page([f"i{n}" for n in range(immediate)], [f"d{n}" for n in range(delayed)], limit)
    assert " ".join(page) == expected


def test_asking_for_no_more_than_the_share_gives_the_same_page() -> None:
    for immediate, delayed, limit in itertools.product(range(7), range(7), range(1, 7)):
        first, due = [f"i{n}" for n in range(immediate)], [f"d{n}" for n in range(delayed)]
        asked = first[: most_immediate(limit, len(due[:limit]))]
        page = fair_page(asked, due[:limit], limit)
        assert page == fair_page(first, due, limit)
        assert len(page) == min(limit, immediate + delayed)
