"""Record stores that judge the changes of a batch wrongly."""

from collections.abc import Mapping, Sequence

import msgspec

from tests.faults import Wrapper
from tests.faults.fault import Fault, fault
from workflow.protocols import Change, HeldCallback, NewVersion, Outcome, Verdict, refused


def _is_bad(change: Change) -> bool:
    """True for the changes by which the kit tries a store that has no transaction for the user."""
    return isinstance(change, NewVersion) and (bool(change.on_commit) or "\0" in change.record.foreign_id)


class RefusesTheWholeBatch(Wrapper):
    """One change that cannot be stored keeps the others from being written."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        bad = next((change for change in changes if _is_bad(change)), None)
        if bad is None:
            return list(await self.real.store(changes))
        (outcome,) = await self.real.store([bad])
        return [outcome] * len(changes)


class StopsAtTheFirstRefusal(Wrapper):
    """Writes the changes before the first that cannot be stored, and refuses those behind it."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        place = next((place for place, change in enumerate(changes) if _is_bad(change)), len(changes))
        outcomes = list(await self.real.store(changes[: place + 1]))
        return [*outcomes, *outcomes[-1:] * (len(changes) - len(outcomes))]


class RefusesWithoutTheValue(Wrapper):
    """Says that a change cannot be stored, but not which field is at fault."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = await self.real.store(changes)
        silent = refused(ValueError("cannot be stored"))
        return [silent if outcome.verdict is Verdict.REFUSED else outcome for outcome in outcomes]


class RefusesTheAttemptForGood(Wrapper):
    """Remembers what it refused, and refuses the same attempt when it is sent again without the fault."""

    def __init__(self, real: object) -> None:
        super().__init__(real)
        self._refused: dict[tuple[str, str], Outcome] = {}

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store([change for change in changes if self._key(change) not in self._refused]))
        answers: list[Outcome] = []
        for change in changes:
            if (known := self._refused.get(self._key(change))) is not None:
                answers.append(known)
                continue
            outcome = outcomes.pop(0)
            answers.append(outcome)
            if outcome.verdict is Verdict.REFUSED:
                self._refused[self._key(change)] = outcome
        return answers

    @staticmethod
    def _key(change: Change) -> tuple[str, str]:
        return change.run_id, change.record.attempt_id if isinstance(change, NewVersion) else ""


class JudgesByTheNumberAlone(Wrapper):
    """Takes every version of the expected number for the one that a change was made from."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        return list(await self.real.store([msgspec.structs.replace(change, base_attempt="") for change in changes]))


class RevivesRunsUnseen(Wrapper):
    """Looks for another live run when a run is created, not when a finished one is made live again."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store(changes))
        for place, (change, outcome) in enumerate(zip(changes, outcomes, strict=True)):
            if outcome.verdict is Verdict.IN_PROGRESS and isinstance(change, NewVersion) and change.expects:
                hidden = msgspec.structs.replace(change.record, foreign_id=f"{change.record.foreign_id}|again")
                (outcomes[place],) = await self.real.store([msgspec.structs.replace(change, record=hidden)])
        return outcomes


class TakesNothing(Wrapper):
    """Writes the version and leaves the callbacks that it delivers held."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        bare = [msgspec.structs.replace(c, takes=()) if isinstance(c, NewVersion) else c for c in changes]
        return list(await self.real.store(bare))


class TakesWhateverIsLeft(Wrapper):
    """Takes the callbacks that are held still, and does not mind those that are gone."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        return list(await self.real.store([await self._possible(change) for change in changes]))

    async def _possible(self, change: Change) -> Change:
        if not isinstance(change, NewVersion) or not change.takes:
            return change
        record = change.record
        held = await self.real.list_held(record.workflow_name, foreign_id=record.foreign_id, limit=1_000)
        ids = {callback.id for callback in held}
        return msgspec.structs.replace(change, takes=tuple(id_ for id_ in change.takes if id_ in ids))


class TakesBeforeItJudges(Wrapper):
    """Forgets the callbacks of a version that was not written."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = await self.real.store(changes)
        for change, outcome in zip(changes, outcomes, strict=True):
            if isinstance(change, NewVersion) and not outcome.ok:
                record = change.record
                held = await self.real.list_held(record.workflow_name, foreign_id=record.foreign_id, limit=1_000)
                await self.real.release([callback for callback in held if callback.id in change.takes])
        return outcomes


class KeepsThePayloadOfTheTaken(Wrapper):
    """Marks callbacks as taken, and keeps what they say."""

    def __init__(self, real: object) -> None:
        super().__init__(real)
        self._payloads: dict[tuple[str, str, str], bytes] = {}

    async def hold(self, callback: HeldCallback) -> HeldCallback:
        key = (callback.workflow_name, callback.foreign_id, callback.id)
        payload = self._payloads.setdefault(key, callback.payload)
        found: HeldCallback = await self.real.hold(callback)
        return msgspec.structs.replace(found, payload=payload) if found.taken_by else found


class TakesByIdAlone(Wrapper):
    """Takes a callback of this id from any foreign ID of the workflow, if the run has none of its own."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store(changes))
        for place, (change, outcome) in enumerate(zip(changes, outcomes, strict=True)):
            if outcome.verdict is Verdict.CONFLICT and isinstance(change, NewVersion) and change.takes:
                held = await self.real.list_held(change.record.workflow_name, limit=1_000)
                found: Mapping[str, HeldCallback] = {callback.id: callback for callback in held}
                if all(id_ in found for id_ in change.takes):
                    await self.real.release([found[id_] for id_ in change.takes])
                    (outcomes[place],) = await self.real.store([msgspec.structs.replace(change, takes=())])
        return outcomes


FAULTS: tuple[Fault, ...] = (
    fault(
        "record_store",
        JudgesByTheNumberAlone,
        "a_version_made_from_another_of_the_same_number_is_a_conflict",
        "a_note_on_another_version_of_the_same_number_is_a_conflict",
        "random_batches_are_answered_as_the_model_answers_them",
    ),
    fault(
        "record_store",
        RefusesTheWholeBatch,
        "each_change_of_a_batch_gets_its_own_verdict_at_its_own_place",
        "refused_changes_leave_their_neighbours_alone_wherever_they_are",
        "a_large_batch_of_mixed_changes_is_answered_in_order",
        "a_refused_change_says_which_field_has_which_value",
        "a_refused_change_leaves_no_trace_and_may_be_mended",
    ),
    fault(
        "record_store",
        StopsAtTheFirstRefusal,
        "each_change_of_a_batch_gets_its_own_verdict_at_its_own_place",
        "refused_changes_leave_their_neighbours_alone_wherever_they_are",
        "a_large_batch_of_mixed_changes_is_answered_in_order",
    ),
    fault(
        "record_store",
        RefusesWithoutTheValue,
        "a_value_that_cannot_be_stored_gives_an_error_that_names_its_field",
        "a_refused_change_says_which_field_has_which_value",
    ),
    fault(
        "record_store",
        RefusesTheAttemptForGood,
        "a_refused_change_says_which_field_has_which_value",
        "a_refused_change_leaves_no_trace_and_may_be_mended",
    ),
    fault(
        "record_store",
        RevivesRunsUnseen,
        "a_finished_run_is_live_again_only_while_its_foreign_id_is_free",
        "of_two_runs_that_become_live_in_one_batch_one_is_in_progress",
    ),
    fault(
        "record_store",
        TakesNothing,
        "a_version_takes_a_held_callback_and_its_payload_is_dropped",
        "a_run_may_take_callbacks_as_it_is_created",
        "a_version_that_takes_a_callback_that_is_not_held_is_a_conflict",
        "a_version_takes_all_of_its_callbacks_or_none",
        "one_id_is_taken_from_the_foreign_id_and_workflow_of_its_run_only",
        "a_version_whose_callback_is_gone_leaves_the_rest_of_its_batch_alone",
        "an_erasing_version_whose_callback_is_gone_erases_nothing",
        "of_two_runs_that_take_one_callback_at_once_exactly_one_wins",
        "a_callback_that_is_taken_and_released_at_once_is_either",
        "erasure_leaves_no_personal_data_in_any_answer",
        "erasure_keeps_the_audit_of_a_run",
    ),
    fault(
        "record_store",
        TakesWhateverIsLeft,
        "a_version_that_takes_a_callback_that_is_not_held_is_a_conflict",
        "a_version_takes_all_of_its_callbacks_or_none",
        "one_id_is_taken_from_the_foreign_id_and_workflow_of_its_run_only",
        "a_version_whose_callback_is_gone_leaves_the_rest_of_its_batch_alone",
        "an_erasing_version_whose_callback_is_gone_erases_nothing",
        "of_two_runs_that_take_one_callback_at_once_exactly_one_wins",
        "a_callback_that_is_taken_and_released_at_once_is_either",
    ),
    fault(
        "record_store",
        TakesBeforeItJudges,
        "a_version_takes_all_of_its_callbacks_or_none",
        "a_version_that_is_not_written_takes_nothing",
    ),
    fault(
        "record_store",
        KeepsThePayloadOfTheTaken,
        "a_version_takes_a_held_callback_and_its_payload_is_dropped",
        "a_run_may_take_callbacks_as_it_is_created",
        "one_id_is_taken_from_the_foreign_id_and_workflow_of_its_run_only",
        "a_version_whose_callback_is_gone_leaves_the_rest_of_its_batch_alone",
        "of_two_runs_that_take_one_callback_at_once_exactly_one_wins",
        "a_callback_that_is_taken_and_released_at_once_is_either",
        "erasure_leaves_no_personal_data_in_any_answer",
    ),
    fault(
        "record_store",
        TakesByIdAlone,
        "a_version_that_is_not_written_takes_nothing",
        "one_id_is_taken_from_the_foreign_id_and_workflow_of_its_run_only",
        "a_callback_that_is_taken_and_released_at_once_is_either",
    ),
)
