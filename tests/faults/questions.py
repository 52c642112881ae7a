"""Record stores that answer questions wrongly, in one way each."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tests.faults import Wrapper
from tests.faults.fault import Fault, fault
from workflow.protocols import (
    Change,
    DeadLetter,
    DeadLetterQuery,
    NewVersion,
    Order,
    OutboxPage,
    Outcome,
    Page,
    Record,
    RecordQuery,
    RunState,
    StalledQuery,
)

AGES = timedelta(days=1_000)


class LatestIsTheLastStored(Wrapper):
    """Takes the run that was touched last for the latest."""

    async def latest(self, workflow_name: str, foreign_id: str) -> Record | None:
        query = RecordQuery(workflow_name=workflow_name, foreign_ids=(foreign_id,), limit=1_000)
        records = await self.real.list(query)
        return max(records, key=lambda record: record.updated_at, default=None)


class DescendingPagesOfAscendingRecords(Wrapper):
    """Turns the page around, not the order."""

    async def list(self, query: RecordQuery) -> Page[Record]:
        page: Page[Record] = await self.real.list(msgspec.structs.replace(query, order=Order.ASCENDING))
        return Page(page[::-1], page.next) if query.order is Order.DESCENDING else page


class OutboxNewestFirst(Wrapper):
    """Reads the outbox from its head."""

    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        page: OutboxPage = await self.real.list_outbox(workflow_name, now=now, limit=10_000)
        return msgspec.structs.replace(page, events=page.events[::-1][:limit])


class DelayedEventsStarve(Wrapper):
    """Fills a page with immediate events first."""

    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        page: OutboxPage = await self.real.list_outbox(workflow_name, now=now, limit=10_000)
        events = sorted(page.events, key=lambda waiting: waiting.due_at is not None)
        return msgspec.structs.replace(page, events=tuple(events[:limit]))


class SendsDelayedEventsAtOnce(Wrapper):
    """Knows no due times."""

    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        page: OutboxPage = await self.real.list_outbox(workflow_name, now=now + AGES, limit=limit)
        return page


class ResumesOnlyLater(Wrapper):
    """Finds a pause old enough only after its time."""

    async def list_auto_paused(self, workflow_name: str, *, paused_until: datetime, limit: int) -> Sequence[Record]:
        before = paused_until - timedelta(microseconds=1)
        found: Sequence[Record] = await self.real.list_auto_paused(workflow_name, paused_until=before, limit=limit)
        return found


class SweepsWithoutBackOff(Wrapper):
    """Lists a stalled run again however lately it was swept."""

    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        found: Sequence[Record] = await self.real.list_stalled(msgspec.structs.replace(query, now=query.now + AGES))
        return found


class SweepsEverything(Wrapper):
    """Forgets to ask whether a run was skipped or armed."""

    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        asked = (*query.step_statuses, *query.timer_statuses)
        records = await self.real.list(RecordQuery(workflow_name=query.workflow_name, statuses=asked, limit=1_000))
        found = {r.run_id: r for r in records if asked and r.run_state in (1, 2) and r.due_at < query.due_before}
        found |= {r.run_id: r for r in await self.real.list_stalled(query)}
        return sorted(found.values(), key=lambda record: record.due_at)[: query.limit]


class ResumesWhatRuns(Wrapper):
    """Lists a run that the engine has paused once, although it goes on."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self.once: set[str] = set()

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        self.once |= {c.run_id for c in changes if isinstance(c, NewVersion) and c.record.auto_paused}
        outcomes: Sequence[Outcome] = await self.real.store(changes)
        return outcomes

    async def list_auto_paused(self, workflow_name: str, *, paused_until: datetime, limit: int) -> Sequence[Record]:
        found = list(await self.real.list_auto_paused(workflow_name, paused_until=paused_until, limit=limit))
        records = (await self.real.lookup(sorted(self.once))).values()
        found += [r for r in records if r.run_state is not RunState.PAUSED and r.updated_at < paused_until]
        return found[:limit]


class SkipsWhatItCannotRead(Wrapper):
    """Loses rows that do not decode, instead of moving them to the dead letters."""

    async def list_dead_letters(self, query: DeadLetterQuery) -> Page[DeadLetter]:
        page = await self.real.list_dead_letters(query)
        return Page([letter for letter in page if letter.source != "outbox"], page.next)


FAULTS: tuple[Fault, ...] = (
    fault(
        "record_store",
        ResumesWhatRuns,
        "a_run_that_is_no_longer_paused_is_not_listed_for_resuming",
    ),
    fault(
        "record_store",
        LatestIsTheLastStored,
        "latest_is_the_live_run_else_the_one_created_last_by_the_stores_own_sequence",
        "random_batches_are_answered_as_the_model_answers_them",
    ),
    fault(
        "record_store",
        DescendingPagesOfAscendingRecords,
        "a_thousand_records_are_paged_through_in_both_orders",
        "the_offset_counts_filtered_records_in_the_asked_order",
        "each_condition_alone_finds_the_records_of_the_model",
        "conditions_together_find_the_records_of_the_model",
        "runs_are_paged_in_both_orders_each_once",
        "runs_are_listed_by_creation_and_then_by_the_number_of_the_store",
        "an_offset_is_counted_from_the_cursor",
    ),
    fault(
        "record_store",
        OutboxNewestFirst,
        "a_move_sent_again_is_already_applied_and_written_once",
        "a_move_sent_again_is_already_applied_also_when_later_versions_exist",
        "random_batches_are_answered_as_the_model_answers_them",
        "each_change_of_a_batch_gets_its_own_verdict_at_its_own_place",
        "a_refused_change_leaves_no_trace_and_may_be_mended",
        "a_version_that_takes_a_callback_that_is_not_held_is_a_conflict",
        "a_version_that_is_not_written_takes_nothing",
        "an_erasing_version_whose_callback_is_gone_erases_nothing",
        "an_emitted_event_joins_the_outbox_without_a_version",
        "every_version_leaves_its_event_in_the_outbox",
        "a_deleted_event_is_gone_and_may_be_deleted_again",
        "immediate_events_come_in_the_order_they_were_committed",
        "the_events_of_one_run_keep_the_order_of_its_versions",
        "the_events_of_one_run_keep_their_order_across_processes",
        "neither_immediate_nor_delayed_events_starve",
        "delayed_events_come_by_their_due_time",
        "an_outbox_that_is_emptied_has_no_oldest_event",
    ),
    fault(
        "record_store",
        DelayedEventsStarve,
        "neither_immediate_nor_delayed_events_starve",
    ),
    fault(
        "record_store",
        SendsDelayedEventsAtOnce,
        "moves_marks_and_emits_share_a_batch",
        "the_outbox_of_another_workflow_is_its_own",
        "a_delayed_event_is_not_listed_before_it_is_due",
        "an_emitted_event_may_be_delayed",
        "delayed_events_come_by_their_due_time",
        "an_outbox_that_is_emptied_has_no_oldest_event",
    ),
    fault(
        "record_store",
        ResumesOnlyLater,
        "only_pauses_made_by_the_engine_are_listed_for_resuming",
    ),
    fault(
        "record_store",
        SweepsWithoutBackOff,
        "a_run_that_was_swept_waits_as_long_again",
        "swept_runs_do_not_take_the_places_of_those_behind_them",
    ),
    fault(
        "record_store",
        SweepsEverything,
        "a_run_whose_status_has_a_step_is_stalled_unless_skipped",
        "a_run_whose_timers_are_not_armed_is_stalled",
        "a_run_that_was_swept_waits_as_long_again",
        "swept_runs_do_not_take_the_places_of_those_behind_them",
    ),
    fault(
        "record_store",
        SkipsWhatItCannotRead,
        "personal_data_is_gone_after_reopening_too",
        "an_undecodable_row_becomes_a_dead_letter_and_blocks_nothing",
        "a_page_full_of_undecodable_rows_does_not_hide_the_rest",
        backend="sqlite",
    ),
)
