"""Dead letters, held callbacks, definitions and outbox figures that are wrong in one way each."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tests.faults import Wrapper
from tests.faults.fault import Fault, fault
from workflow.protocols import (
    DeadLetter,
    DeadLetterQuery,
    HeldCallback,
    OutboxInfo,
    Page,
    PublishedWorkflow,
    WorkflowInfo,
)

ALL = 100_000
AGES = timedelta(days=1_000)


class ListsLettersOfEveryRun(Wrapper):
    """Does not ask which run a dead letter is about."""

    async def list_dead_letters(self, query: DeadLetterQuery) -> Page[DeadLetter]:
        page: Page[DeadLetter] = await self.real.list_dead_letters(msgspec.structs.replace(query, run_id=None))
        return page


class LooksLettersUpAsAsked(Wrapper):
    """Gives dead letters in the order of the ids."""

    async def lookup_dead_letters(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        return [letter for id_ in ids for letter in await self.real.lookup_dead_letters([id_])]


class RemovesTheFirstLetterOnly(Wrapper):
    """Removes one dead letter a call."""

    async def remove_dead_letters(self, ids: Sequence[str]) -> None:
        await self.real.remove_dead_letters(ids[:1])


class TheLastHeldWins(Wrapper):
    """A callback of a known id takes the place of the one that is held."""

    async def hold(self, callback: HeldCallback) -> HeldCallback:
        await self.real.release([callback])
        found: HeldCallback = await self.real.hold(callback)
        return found


class AnyForeignIdWithAnyStatus(Wrapper):
    """Takes pairs of foreign ID and status apart."""

    async def held(
        self, workflow_name: str, wanted: Sequence[tuple[str, int]], *, limit: int
    ) -> Sequence[HeldCallback]:
        mixed = [(foreign_id, status) for foreign_id, _ in wanted for _, status in wanted]
        return list(await self.real.held(workflow_name, mixed, limit=limit))


class ExpiresTooLate(Wrapper):
    """A callback is not expired at exactly its time."""

    async def list_expired(self, workflow_name: str, *, now: datetime, limit: int) -> Sequence[HeldCallback]:
        before = now - timedelta(microseconds=1)
        return list(await self.real.list_expired(workflow_name, now=before, limit=limit))


class TheFirstMemoStays(Wrapper):
    """Leaves a memo that is there as it is."""

    async def keep_memo(self, workflow_name: str, key: str, text: str) -> None:
        if not text or not await self.real.memo(workflow_name, key):
            await self.real.keep_memo(workflow_name, key, text)


class OneMemoForAllKeys(Wrapper):
    """Does not look at the key."""

    async def memo(self, workflow_name: str, key: str) -> str:
        text: str = await self.real.memo(workflow_name, "any")
        return text

    async def keep_memo(self, workflow_name: str, key: str, text: str) -> None:
        await self.real.keep_memo(workflow_name, "any", text)


class KeepsEmptyMemosAsTheyWere(Wrapper):
    """Takes an empty text for no text."""

    async def keep_memo(self, workflow_name: str, key: str, text: str) -> None:
        if text:
            await self.real.keep_memo(workflow_name, key, text)


class ForgetsOtherReleases(Wrapper):
    """Keeps one definition for each name."""

    async def workflows(self) -> Sequence[PublishedWorkflow]:
        newest: dict[str, PublishedWorkflow] = {}
        for one in await self.real.workflows():
            newest.setdefault(one.info.name, one)
        return list(newest.values())


class EveryPublishingIsTheFirst(Wrapper):
    """Begins anew with each publishing."""

    async def workflows(self) -> Sequence[PublishedWorkflow]:
        return [msgspec.structs.replace(one, first_at=one.last_at) for one in await self.real.workflows()]


class DefinitionsAsTheyCame(Wrapper):
    """Lists definitions in the order in which they were published first."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self._order: dict[tuple[str, str], int] = {}

    async def publish(self, info: WorkflowInfo) -> None:
        self._order.setdefault((info.name, info.fingerprint), len(self._order))
        await self.real.publish(info)

    async def workflows(self) -> Sequence[PublishedWorkflow]:
        found = await self.real.workflows()
        return sorted(found, key=lambda one: self._order.get((one.info.name, one.info.fingerprint), 0))


class CountsDelayedEventsAsReady(Wrapper):
    """Does not ask when an event is due."""

    async def outbox_info(self, workflow_name: str, *, now: datetime) -> OutboxInfo:
        info: OutboxInfo = await self.real.outbox_info(workflow_name, now=now + AGES)
        return info


class TheOldestIsDelayed(Wrapper):
    """Takes events for the oldest ready one that are not ready."""

    async def outbox_info(self, workflow_name: str, *, now: datetime) -> OutboxInfo:
        info = await self.real.outbox_info(workflow_name, now=now)
        everything = await self.real.outbox_info(workflow_name, now=now + AGES)
        changed: OutboxInfo = msgspec.structs.replace(info, oldest=everything.oldest)
        return changed


FAULTS: tuple[Fault, ...] = (
    fault(
        "record_store",
        ListsLettersOfEveryRun,
        "dead_letters_are_paged_oldest_first_each_once",
        "erasure_leaves_other_runs_alone",
        "dead_letters_are_listed_for_one_workflow_or_one_of_its_runs",
    ),
    fault(
        "record_store",
        LooksLettersUpAsAsked,
        "dead_letters_are_looked_up_oldest_first_and_unknown_ids_are_left_out",
    ),
    fault(
        "record_store",
        RemovesTheFirstLetterOnly,
        "removed_dead_letters_are_gone_and_may_be_removed_again",
    ),
    fault(
        "record_store",
        TheLastHeldWins,
        "a_callback_of_an_id_that_is_held_stays_as_it_was",
        "of_many_callbacks_of_one_id_held_at_once_one_is_kept",
        "a_callback_held_by_one_process_is_seen_by_every_other",
    ),
    fault(
        "record_store",
        AnyForeignIdWithAnyStatus,
        "held_callbacks_are_found_for_pairs_of_foreign_id_and_status",
    ),
    fault(
        "record_store",
        ExpiresTooLate,
        "a_version_takes_a_held_callback_and_its_payload_is_dropped",
        "a_held_callback_is_read_back_in_every_field",
        "expired_callbacks_are_listed_by_expiry_from_exactly_their_time_on",
    ),
    fault(
        "record_store",
        TheFirstMemoStays,
        "a_memo_is_the_text_that_was_kept_last",
        "memos_of_other_workflows_and_keys_are_their_own",
        "another_process_reads_what_one_has_kept",
    ),
    fault(
        "record_store",
        OneMemoForAllKeys,
        "memos_of_other_workflows_and_keys_are_their_own",
    ),
    fault(
        "record_store",
        KeepsEmptyMemosAsTheyWere,
        "an_empty_text_removes_a_memo_and_may_be_kept_again",
    ),
    fault(
        "record_store",
        ForgetsOtherReleases,
        "two_releases_of_a_workflow_stand_side_by_side_the_last_published_first",
        "of_processes_that_publish_at_once_each_definition_is_kept_once",
    ),
    fault(
        "record_store",
        EveryPublishingIsTheFirst,
        "a_definition_that_is_published_again_is_one_with_a_later_time",
    ),
    fault(
        "record_store",
        DefinitionsAsTheyCame,
        "two_releases_of_a_workflow_stand_side_by_side_the_last_published_first",
        "definitions_come_by_name",
        "of_processes_that_publish_at_once_each_definition_is_kept_once",
    ),
    fault(
        "record_store",
        CountsDelayedEventsAsReady,
        "an_outbox_tells_ready_events_from_delayed_ones",
        "an_outbox_that_is_emptied_has_no_oldest_event",
    ),
    fault(
        "record_store",
        TheOldestIsDelayed,
        "an_outbox_tells_ready_events_from_delayed_ones",
        "an_outbox_that_is_emptied_has_no_oldest_event",
    ),
)
