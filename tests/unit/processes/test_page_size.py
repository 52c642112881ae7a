"""Pages of large records are short: a process holds a page in memory."""

from workflow._model.record import Record
from workflow._processes.page_size import FIRST, PAGE_BYTES, PageSize
from workflow_adapters.conformance._values import created


def _page(count: int, size: int) -> list[Record]:
    return [created("run", object=bytes(size)).record] * count


def test_it_begins_small_and_grows_to_the_most() -> None:
    page = PageSize(500)
    limits = [page.limit]
    for _ in range(4):
        page.saw(_page(page.limit, 100))
        limits.append(page.limit)
    assert limits == [FIRST, 4 * FIRST, 16 * FIRST, 500, 500]
    assert PageSize(5).limit == 5


def test_it_goes_by_the_bytes_that_came_back_but_asks_for_one_at_least() -> None:
    page = PageSize(500)
    page.saw(_page(20, 9 * 2**20))
    assert page.limit == PAGE_BYTES // (9 * 2**20) == 3
    page.saw(_page(1, 2 * PAGE_BYTES))
    assert page.limit == 1
    page.saw([])
    assert page.limit == 1
    page.saw(_page(1, 0))
    assert page.limit == 4
