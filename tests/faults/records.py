"""Record stores that write wrongly, in one way each."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec

from tests.faults import Wrapper
from tests.faults.fault import Fault, fault
from workflow.errors import Unavailable
from workflow.protocols import Change, NewVersion, Note, Outcome, Record, Verdict

AGES = timedelta(days=1_000)


class NoCompareAndSwap(Wrapper):
    """Reads the version, then writes whatever it was given: the last writer wins."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store(changes))
        for place, (change, outcome) in enumerate(zip(changes, outcomes, strict=True)):
            if outcome.verdict is Verdict.CONFLICT and outcome.record and isinstance(change, NewVersion):
                version = outcome.record.version + 1
                record = msgspec.structs.replace(change.record, version=version)
                forced = msgspec.structs.replace(change, record=record, base_attempt="")
                (outcomes[place],) = await self.real.store([forced])
        return outcomes


class ForgetsAttempts(Wrapper):
    """Does not know its own writes again."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store(changes))
        for place, (change, outcome) in enumerate(zip(changes, outcomes, strict=True)):
            if outcome.verdict is Verdict.ALREADY_APPLIED:
                records = await self.real.lookup([change.run_id])
                outcomes[place] = Outcome(Verdict.CONFLICT, records[change.run_id])
        return outcomes


class KnowsOnlyTheLastAttempt(Wrapper):
    """Compares the attempt id with the present record, not with the history."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store(changes))
        for place, (change, outcome) in enumerate(zip(changes, outcomes, strict=True)):
            if outcome.verdict is Verdict.ALREADY_APPLIED and isinstance(change, NewVersion):
                present = (await self.real.lookup([change.run_id]))[change.run_id]
                if present.version != change.record.version:
                    outcomes[place] = Outcome(Verdict.CONFLICT, present)
        return outcomes


class DuplicateLiveRuns(Wrapper):
    """Lets a foreign ID have any number of live runs."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store(changes))
        for place, (change, outcome) in enumerate(zip(changes, outcomes, strict=True)):
            if outcome.verdict is Verdict.IN_PROGRESS and isinstance(change, NewVersion):
                hidden = f"{change.record.foreign_id}|{change.run_id}"
                record = msgspec.structs.replace(change.record, foreign_id=hidden)
                (outcomes[place],) = await self.real.store([msgspec.structs.replace(change, record=record)])
        return outcomes


class LosesEventsOnConflict(Wrapper):
    """A conflict in a batch takes the events of the others with it."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = await self.real.store(changes)
        if any(outcome.verdict is Verdict.CONFLICT for outcome in outcomes):
            await self._forget([change for change, outcome in zip(changes, outcomes, strict=True) if outcome.ok])
        return outcomes

    async def _forget(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, NewVersion):
                name = change.record.workflow_name
                page = await self.real.list_outbox(name, now=change.record.updated_at + AGES, limit=10_000)
                ids = [waiting.id for waiting in page.events if waiting.event == change.event]
                await self.real.delete_outbox(ids)


class LosesEventsOnCancellation(LosesEventsOnConflict):
    """Writes the record, and its event a moment later."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = await self.real.store(changes)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            await self._forget(changes)
            raise
        return outcomes


class MarksWithoutGuard(Wrapper):
    """Notes a mark on whatever version is there."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store(changes))
        for place, (change, outcome) in enumerate(zip(changes, outcomes, strict=True)):
            if outcome.verdict is Verdict.CONFLICT and outcome.record and isinstance(change, Note) and not change.event:
                blind = msgspec.structs.replace(change, version=outcome.record.version)
                (outcomes[place],) = await self.real.store([blind])
        return outcomes


class EmitsWithoutGuard(Wrapper):
    """Emits an event of whatever version is there."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store(changes))
        for place, (change, outcome) in enumerate(zip(changes, outcomes, strict=True)):
            if outcome.verdict is Verdict.CONFLICT and outcome.record and isinstance(change, Note) and change.event:
                blind = msgspec.structs.replace(change, version=outcome.record.version)
                (outcomes[place],) = await self.real.store([blind])
        return outcomes


class KeepsTheSkip(Wrapper):
    """Carries the skip of one version over to the next."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        before: Mapping[str, Record] = await self.real.lookup([change.run_id for change in changes])
        outcomes: Sequence[Outcome] = await self.real.store(changes)
        for change in changes:
            if isinstance(change, NewVersion) and change.run_id in before and before[change.run_id].marks.skipped:
                await self.real.store([Note(run_id=change.run_id, version=change.record.version, skipped=True)])
        return outcomes


class ForgetsArmed(Wrapper):
    """Writes `timers_armed` as the writer had read it, instead of keeping its own."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = await self.real.store(changes)
        for change in changes:
            if isinstance(change, NewVersion) and not change.record.marks.timers_armed:
                await self.real.store([Note(run_id=change.run_id, version=change.record.version, timers_armed=False)])
        return outcomes


class ErasesNothing(Wrapper):
    """Writes the DataDeleted version and leaves the data where it is."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        kept = [msgspec.structs.replace(c, erase=False) if isinstance(c, NewVersion) else c for c in changes]
        return list(await self.real.store(kept))


class KeepsEveryObject(Wrapper):
    """Copies the object into the history of failed attempts too."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        kept = [msgspec.structs.replace(c, keep_object=True) if isinstance(c, NewVersion) else c for c in changes]
        return list(await self.real.store(kept))


class ForgetsWhatTheUserWrites(Wrapper):
    """Moves the run without calling the user's functions."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        bare = [msgspec.structs.replace(c, on_commit=()) if isinstance(c, NewVersion) else c for c in changes]
        return list(await self.real.store(bare))


class RaisesTheDriversErrors(Wrapper):
    """Lets the driver say that the server is gone."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        try:
            return list(await self.real.store(changes))
        except Unavailable as error:
            raise ConnectionResetError(*error.args) from error


FAULTS: tuple[Fault, ...] = (
    fault(
        "record_store",
        NoCompareAndSwap,
        "a_move_from_a_version_that_is_not_the_present_one_is_a_conflict",
        "another_attempt_at_a_version_that_was_written_is_a_conflict",
        "a_run_id_taken_by_another_attempt_is_a_conflict",
        "a_batch_of_five_hundred_is_answered_one_by_one_in_order",
        "of_many_writers_of_one_version_exactly_one_wins",
        "batches_that_overlap_in_opposite_order_all_get_an_answer",
        "random_batches_are_answered_as_the_model_answers_them",
        "each_change_of_a_batch_gets_its_own_verdict_at_its_own_place",
        "a_version_that_is_not_written_takes_nothing",
        "an_erasing_move_that_conflicts_erases_nothing",
        "a_conflict_in_a_batch_takes_no_event_of_the_others_with_it",
        "a_version_made_from_another_of_the_same_number_is_a_conflict",
    ),
    fault(
        "record_store",
        ForgetsAttempts,
        "a_move_sent_again_is_already_applied_and_written_once",
        "a_move_sent_again_is_already_applied_also_when_later_versions_exist",
        "a_run_created_again_by_its_attempt_id_is_already_applied",
        "the_attempt_id_of_a_run_is_looked_at_before_its_foreign_id",
        "of_one_creation_sent_many_times_at_once_there_is_one_run",
        "a_cancelled_store_leaves_record_history_and_event_or_nothing",
        "random_batches_are_answered_as_the_model_answers_them",
        "each_change_of_a_batch_gets_its_own_verdict_at_its_own_place",
        "a_refused_change_leaves_no_trace_and_may_be_mended",
        "a_version_that_took_a_callback_is_already_applied_when_it_is_sent_again",
    ),
    fault(
        "record_store",
        KnowsOnlyTheLastAttempt,
        "a_move_sent_again_is_already_applied_also_when_later_versions_exist",
        "a_run_created_again_by_its_attempt_id_is_already_applied",
        "the_attempt_id_of_a_run_is_looked_at_before_its_foreign_id",
        "random_batches_are_answered_as_the_model_answers_them",
        "a_version_that_took_a_callback_is_already_applied_when_it_is_sent_again",
    ),
    fault(
        "record_store",
        DuplicateLiveRuns,
        "a_second_live_run_of_one_foreign_id_is_refused",
        "two_runs_of_one_foreign_id_in_one_batch_are_one_run",
        "of_many_creations_on_one_foreign_id_exactly_one_wins",
        "random_batches_are_answered_as_the_model_answers_them",
        "each_change_of_a_batch_gets_its_own_verdict_at_its_own_place",
        "a_finished_run_is_live_again_only_while_its_foreign_id_is_free",
        "of_two_runs_that_become_live_in_one_batch_one_is_in_progress",
        "a_version_that_is_not_written_takes_nothing",
    ),
    fault(
        "record_store",
        LosesEventsOnConflict,
        "random_batches_are_answered_as_the_model_answers_them",
        "each_change_of_a_batch_gets_its_own_verdict_at_its_own_place",
        "a_conflict_in_a_batch_takes_no_event_of_the_others_with_it",
    ),
    fault(
        "record_store",
        LosesEventsOnCancellation,
        "a_cancelled_store_leaves_record_history_and_event_or_nothing",
    ),
    fault(
        "record_store",
        MarksWithoutGuard,
        "random_batches_are_answered_as_the_model_answers_them",
        "a_large_batch_of_mixed_changes_is_answered_in_order",
        "a_mark_of_another_version_is_a_conflict_and_notes_nothing",
        "moves_marks_and_emits_share_a_batch",
    ),
    fault(
        "record_store",
        EmitsWithoutGuard,
        "random_batches_are_answered_as_the_model_answers_them",
        "an_emit_of_another_version_is_a_conflict_and_sends_nothing",
    ),
    fault(
        "record_store",
        KeepsTheSkip,
        "random_batches_are_answered_as_the_model_answers_them",
        "a_new_version_of_the_same_visit_clears_every_note_but_armed",
        "a_new_visit_clears_armed_too_also_of_the_same_status",
    ),
    fault(
        "record_store",
        ForgetsArmed,
        "random_batches_are_answered_as_the_model_answers_them",
        "a_move_computed_before_the_timers_were_armed_keeps_them_armed",
    ),
    fault(
        "record_store",
        ErasesNothing,
        "an_erasing_move_empties_history_and_dead_letters_of_its_run_only",
        "erasure_leaves_no_personal_data_in_any_answer",
        "erasure_keeps_the_audit_of_a_run",
    ),
    fault(
        "record_store",
        KeepsEveryObject,
        "a_history_row_without_its_object_leaves_the_record_its_object",
        "a_history_is_read_in_pages_from_any_version_on",
    ),
    fault(
        "record_store",
        ForgetsWhatTheUserWrites,
        "a_failing_function_undoes_its_own_change_only",
        "a_users_rows_are_committed_with_the_move",
        "a_users_rows_are_written_once_however_often_the_move_is_sent",
        "of_many_who_write_along_with_one_version_one_leaves_rows",
        "a_users_function_that_raises_undoes_the_move",
        backend="sqlite",
    ),
    fault(
        "record_store",
        RaisesTheDriversErrors,
        "while_the_store_cannot_be_reached_every_call_says_so",
        backend="sqlite",
    ),
)
