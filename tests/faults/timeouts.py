"""Timeout stores that are wrong in one way each."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from tests.faults import Wrapper
from tests.faults.fault import Fault, fault
from workflow.errors import TimeoutNotFound
from workflow.protocols import TimeoutPage, TimeoutQuery, TimeoutRecord


class CreatesAgain(Wrapper):
    """Writes over a timer that exists already."""

    async def create(self, timeouts: Sequence[TimeoutRecord]) -> None:
        await self.real.cancel([timeout.id for timeout in timeouts])
        await self.real.create(timeouts)


class ClaimsWithoutPostponing(Wrapper):
    """Gives a timer to everybody who asks."""

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        page: TimeoutPage = await self.real.claim_due(workflow_name, statuses, now=now, until=until, limit=limit)
        await self.real.postpone([msgspec.structs.replace(found, due_at=found.expire_at) for found in page.timeouts])
        return page


class NotDueAtItsTime(Wrapper):
    """Finds a timer due only after its time."""

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        before = now - timedelta(microseconds=1)
        page: TimeoutPage = await self.real.claim_due(workflow_name, statuses, now=before, until=until, limit=limit)
        return page


class LosesTheZoneOfNever(Wrapper):
    """Gives the last moment without its time zone, as a driver does for infinity."""

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        page: TimeoutPage = await self.real.claim_due(workflow_name, statuses, now=now, until=until, limit=limit)
        if page.next_due is not None and page.next_due.replace(tzinfo=None) == datetime.max:
            return TimeoutPage(page.timeouts, datetime.max)
        return page


class ClaimsTheLatestFirst(Wrapper):
    """Gives what is due last first, so that the oldest starve."""

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        page: TimeoutPage = await self.real.claim_due(workflow_name, statuses, now=now, until=until, limit=limit)
        return TimeoutPage(page.timeouts[::-1], page.next_due)


class CompletesByRemoving(Wrapper):
    """Removes what is completed."""

    async def complete(self, ids: Sequence[str]) -> None:
        await self.real.complete(ids)
        await self.real.cancel(ids)


class CompletesTheUnknown(Wrapper):
    """Says nothing when there is no such timer."""

    async def complete(self, ids: Sequence[str]) -> None:
        with suppress(TimeoutNotFound):
            await self.real.complete(ids)


class ForgetsWhatIsNext(Wrapper):
    """Does not say when to look again."""

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        page: TimeoutPage = await self.real.claim_due(workflow_name, statuses, now=now, until=until, limit=limit)
        return TimeoutPage(page.timeouts, None)


class PostponesToWriteEverything(Wrapper):
    """Writes the whole timer where three fields were meant."""

    async def postpone(self, timeouts: Sequence[TimeoutRecord]) -> None:
        known = {t.id for timeout in timeouts for t in await self.real.list(self._all(timeout))}
        written = [timeout for timeout in timeouts if timeout.id in known]
        await self.real.cancel([timeout.id for timeout in written])
        await self.real.create(written)

    @staticmethod
    def _all(timeout: TimeoutRecord) -> TimeoutQuery:
        return TimeoutQuery(workflow_name=timeout.workflow_name, completed=True, limit=10_000)


FAULTS: tuple[Fault, ...] = (
    fault(
        "timeout_store",
        LosesTheZoneOfNever,
        "a_timer_at_the_end_of_time_is_read_back_and_never_due",
    ),
    fault(
        "timeout_store",
        CreatesAgain,
        "a_timer_created_again_is_left_as_it_is",
    ),
    fault(
        "timeout_store",
        ClaimsWithoutPostponing,
        "a_timer_is_read_back_in_every_field",
        "due_timers_come_in_the_order_they_are_due",
        "a_claim_postpones_and_is_counted",
        "of_many_who_claim_at_once_each_timer_goes_to_one",
    ),
    fault(
        "timeout_store",
        NotDueAtItsTime,
        "a_timer_at_the_end_of_time_is_read_back_and_never_due",
        "a_timer_is_due_at_exactly_its_time_and_not_before",
        "a_claim_postpones_and_is_counted",
        "a_page_says_when_the_next_of_the_others_is_due",
        "only_timers_of_the_asked_statuses_and_workflow_are_claimed",
        "postponing_writes_due_time_attempt_and_error_only",
        "a_timer_may_be_brought_forward",
        "of_many_who_claim_at_once_each_timer_goes_to_one",
    ),
    fault(
        "timeout_store",
        ClaimsTheLatestFirst,
        "due_timers_come_in_the_order_they_are_due",
    ),
    fault(
        "timeout_store",
        CompletesByRemoving,
        "the_conditions_of_timers_find_those_of_the_model",
        "a_timer_created_again_is_left_as_it_is",
        "completed_timers_stay_and_cancelled_ones_go_and_neither_is_due",
    ),
    fault(
        "timeout_store",
        CompletesTheUnknown,
        "unknown_ids_are_an_error_to_complete_and_none_to_cancel",
    ),
    fault(
        "timeout_store",
        ForgetsWhatIsNext,
        "a_timer_at_the_end_of_time_is_read_back_and_never_due",
        "a_timer_is_due_at_exactly_its_time_and_not_before",
        "a_page_says_when_the_next_of_the_others_is_due",
        "a_page_that_is_full_says_that_more_are_due",
    ),
    fault(
        "timeout_store",
        PostponesToWriteEverything,
        "a_timer_at_the_end_of_time_is_read_back_and_never_due",
        "postponing_writes_due_time_attempt_and_error_only",
    ),
)
