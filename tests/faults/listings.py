"""Listings that lose, repeat or mix up what they list."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from tests.faults import Wrapper
from tests.faults.fault import Fault, fault
from workflow.protocols import (
    Change,
    Count,
    DeadLetter,
    DeadLetterQuery,
    HeldCallback,
    NewVersion,
    Order,
    Outcome,
    Page,
    Record,
    RecordFilter,
    RecordQuery,
    StatusCount,
    TimeoutQuery,
    TimeoutRecord,
)

T = TypeVar("T")
ALL = 100_000


def _page_at(items: Sequence[T], cursor: str | None, limit: int, offset: int = 0) -> Page[T]:
    """One page of these items, by a cursor that counts the items before it."""
    if cursor is not None and not cursor.startswith("after "):
        raise ValueError(f"cursor: {cursor!r} is none")
    start = int(cursor[6:]) if cursor else 0
    end = start + offset + limit
    return Page(items[start + offset : end], f"after {end}" if len(items) > end else None)


class PagesOfRunsByNumber(Wrapper):
    """A cursor of runs says how many were listed, not which was the last."""

    async def list(self, query: RecordQuery) -> Page[Record]:
        everything = await self.real.list(msgspec.structs.replace(query, cursor=None, offset=0, limit=ALL))
        return _page_at(everything, query.cursor, query.limit, query.offset)


class PagesOfLettersByNumber(Wrapper):
    """A cursor of dead letters says how many were listed, not which was the last."""

    async def list_dead_letters(self, query: DeadLetterQuery) -> Page[DeadLetter]:
        everything = await self.real.list_dead_letters(msgspec.structs.replace(query, cursor=None, limit=ALL))
        return _page_at(everything, query.cursor, query.limit)


class PagesOfCallbacksByNumber(Wrapper):
    """A cursor of held callbacks says how many were listed, not which was the last."""

    async def list_held(
        self, workflow_name: str, *, foreign_id: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[HeldCallback]:
        everything = await self.real.list_held(workflow_name, foreign_id=foreign_id, limit=ALL)
        return _page_at(everything, cursor, limit)


class PagesOfTimersByNumber(Wrapper):
    """A cursor of timers says how many were listed, not which was the last."""

    async def list(self, query: TimeoutQuery) -> Page[TimeoutRecord]:
        everything = await self.real.list(msgspec.structs.replace(query, cursor=None, limit=ALL))
        return _page_at(everything, query.cursor, query.limit)


class ACursorOnEveryFullPage(Wrapper):
    """Does not look whether anything follows a full page."""

    async def list(self, query: RecordQuery) -> Page[Record]:
        if query.cursor == "the end":
            return Page()
        page: Page[Record] = await self.real.list(query)
        if page.next is not None or len(page) < query.limit:
            return page
        return Page(page, "the end")


class StartsAgainAtAForeignCursor(Wrapper):
    """Takes a cursor that it does not know for none."""

    async def list(self, query: RecordQuery) -> Page[Record]:
        try:
            page: Page[Record] = await self.real.list(query)
        except ValueError:
            page = await self.real.list(msgspec.structs.replace(query, cursor=None))
        return page

    async def list_dead_letters(self, query: DeadLetterQuery) -> Page[DeadLetter]:
        try:
            page: Page[DeadLetter] = await self.real.list_dead_letters(query)
        except ValueError:
            page = await self.real.list_dead_letters(msgspec.structs.replace(query, cursor=None))
        return page


class FiltersAfterThePage(Wrapper):
    """Reads a page of all runs and then leaves out those of other statuses."""

    async def list(self, query: RecordQuery) -> Page[Record]:
        page = await self.real.list(msgspec.structs.replace(query, statuses=()))
        return Page([r for r in page if not query.statuses or r.status in query.statuses], page.next)


class ListsByTheStoresNumber(Wrapper):
    """Lists runs in the order in which they were stored, whenever they were created."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self._numbers: dict[str, int] = {}

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = await self.real.store(changes)
        for change, outcome in zip(changes, outcomes, strict=True):
            if isinstance(change, NewVersion) and outcome.ok:
                self._numbers.setdefault(change.run_id, len(self._numbers))
        return outcomes

    async def list(self, query: RecordQuery) -> Page[Record]:
        everything = await self.real.list(msgspec.structs.replace(query, cursor=None, offset=0, limit=ALL))
        ordered = sorted(
            everything, key=lambda r: self._numbers.get(r.run_id, 0), reverse=query.order is Order.DESCENDING
        )
        return _page_at(ordered, query.cursor, query.limit, query.offset)


class PrefixesArePatterns(Wrapper):
    """Hands the prefix of foreign IDs to the database as a pattern."""

    async def list(self, query: RecordQuery) -> Page[Record]:
        if not {"%", "_"} & set(query.foreign_id_prefix):
            page: Page[Record] = await self.real.list(query)
            return page
        bare = msgspec.structs.replace(query, foreign_id_prefix="", cursor=None, offset=0, limit=ALL)
        pattern = re.escape(query.foreign_id_prefix).replace("%", ".*").replace("_", ".")
        found = [r for r in await self.real.list(bare) if re.match(pattern, r.foreign_id, re.DOTALL)]
        return _page_at(found, query.cursor, query.limit, query.offset)


class BoundsAreInclusive(Wrapper):
    """Finds records of exactly the moment after which they were asked for."""

    async def list(self, query: RecordQuery) -> Page[Record]:
        if query.updated_after is not None:
            earlier = query.updated_after - timedelta(microseconds=1)
            query = msgspec.structs.replace(query, updated_after=earlier)
        page: Page[Record] = await self.real.list(query)
        return page


class CountsBeyondTheCap(Wrapper):
    """Counts to the end, and says nothing of a cap."""

    async def count(self, query: RecordFilter, *, cap: int = ALL) -> Count:
        counted: Count = await self.real.count(query, cap=ALL)
        return counted


class SaysNothingOfTheCap(Wrapper):
    """Stops at the cap as if there were no more."""

    async def count(self, query: RecordFilter, *, cap: int = ALL) -> Count:
        return Count((await self.real.count(query, cap=cap)).value)


class CountsThePage(Wrapper):
    """Counts the records of the page that a query asks for."""

    async def count(self, query: RecordFilter, *, cap: int = ALL) -> Count:
        if isinstance(query, RecordQuery):
            return Count(len(await self.real.list(query)))
        counted: Count = await self.real.count(query, cap=cap)
        return counted


class CountsFailuresOfFinishedRuns(Wrapper):
    """Counts every run that has failed as failing, also those that are finished."""

    async def counts(self, workflow_name: str) -> Mapping[int, StatusCount]:
        found = dict(await self.real.counts(workflow_name))
        for status, count in found.items():
            asked = RecordFilter(workflow_name=workflow_name, statuses=(status,), failing=True)
            failing = (await self.real.count(asked)).value
            found[status] = msgspec.structs.replace(count, failing=failing)
        return found


class CountsPausedRunsAsFinished(Wrapper):
    """Knows no paused runs."""

    async def counts(self, workflow_name: str) -> Mapping[int, StatusCount]:
        return {
            status: msgspec.structs.replace(
                count, live=count.live - count.paused, paused=0, finished=count.finished + count.paused
            )
            for status, count in (await self.real.counts(workflow_name)).items()
        }


class ListsCompletedTimersAlways(Wrapper):
    """Lists timers that have fired without being asked for them."""

    async def list(self, query: TimeoutQuery) -> Page[TimeoutRecord]:
        page: Page[TimeoutRecord] = await self.real.list(msgspec.structs.replace(query, completed=True))
        return page


FAULTS: tuple[Fault, ...] = (
    fault(
        "record_store",
        PagesOfRunsByNumber,
        "runs_that_come_and_move_between_two_pages_shift_nothing",
    ),
    fault(
        "record_store",
        PagesOfLettersByNumber,
        "dead_letters_that_come_and_go_between_two_pages_shift_nothing",
    ),
    fault(
        "record_store",
        PagesOfCallbacksByNumber,
        "held_callbacks_that_come_and_go_between_two_pages_shift_nothing",
    ),
    fault(
        "timeout_store",
        PagesOfTimersByNumber,
        "timers_that_come_and_go_between_two_pages_shift_nothing",
    ),
    fault(
        "record_store",
        ACursorOnEveryFullPage,
        "runs_are_paged_in_both_orders_each_once",
        "runs_are_listed_by_creation_and_then_by_the_number_of_the_store",
        "the_pages_of_filtered_runs_are_full",
    ),
    fault(
        "record_store",
        StartsAgainAtAForeignCursor,
        "a_foreign_cursor_of_runs_is_an_error_that_shows_it",
        "a_foreign_cursor_of_dead_letters_is_an_error_that_shows_it",
    ),
    fault(
        "record_store",
        FiltersAfterThePage,
        "each_condition_alone_finds_the_records_of_the_model",
        "conditions_together_find_the_records_of_the_model",
        "the_pages_of_filtered_runs_are_full",
        "runs_that_come_and_move_between_two_pages_shift_nothing",
    ),
    fault(
        "record_store",
        ListsByTheStoresNumber,
        "each_condition_alone_finds_the_records_of_the_model",
        "conditions_together_find_the_records_of_the_model",
        "runs_are_listed_by_creation_and_then_by_the_number_of_the_store",
        "runs_that_come_and_move_between_two_pages_shift_nothing",
    ),
    fault(
        "record_store",
        PrefixesArePatterns,
        "conditions_together_find_the_records_of_the_model",
        "a_prefix_of_foreign_ids_is_compared_byte_for_byte",
    ),
    fault(
        "record_store",
        BoundsAreInclusive,
        "each_condition_alone_finds_the_records_of_the_model",
        "conditions_together_find_the_records_of_the_model",
    ),
    fault(
        "record_store",
        CountsBeyondTheCap,
        "a_count_stops_at_its_cap_and_says_so",
    ),
    fault(
        "record_store",
        SaysNothingOfTheCap,
        "a_count_stops_at_its_cap_and_says_so",
    ),
    fault(
        "record_store",
        CountsThePage,
        "a_count_says_nothing_about_the_page_of_a_query",
    ),
    fault(
        "record_store",
        CountsFailuresOfFinishedRuns,
        "the_counts_by_status_are_those_of_the_model",
    ),
    fault(
        "record_store",
        CountsPausedRunsAsFinished,
        "the_counts_by_status_are_those_of_the_model",
        "the_counts_by_status_follow_a_run_through_its_life",
    ),
    fault(
        "timeout_store",
        ListsCompletedTimersAlways,
        "the_conditions_of_timers_find_those_of_the_model",
    ),
)
