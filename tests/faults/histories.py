"""Histories that are read wrongly, or keep what should have been erased."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tests.faults import Wrapper
from tests.faults.fault import Fault, fault
from workflow.protocols import Change, DeadLetter, DeadLetterQuery, HeldCallback, NewVersion, Outcome, Page, Version


class PagesRepeatTheLastVersion(Wrapper):
    """Begins a page of the history with the version after which it was asked for."""

    async def history(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Version]:
        return list(await self.real.history(run_id, after=max(0, after - 1), limit=limit))


class PagesEndAtTheLatest(Wrapper):
    """Gives the latest versions where only some fit."""

    async def history(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Version]:
        rows = list(await self.real.history(run_id, after=after))
        return rows if limit is None else rows[-limit:]


class ForgetsTheActor(Wrapper):
    """Keeps the cause of a version, and not who asked for it."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        return list(await self.real.store([self._nameless(change) for change in changes]))

    @staticmethod
    def _nameless(change: Change) -> Change:
        if not isinstance(change, NewVersion):
            return change
        meta = msgspec.structs.replace(change.record.meta, actor="")
        return msgspec.structs.replace(change, record=msgspec.structs.replace(change.record, meta=meta))


class FindsTheFirstVersionEver(Wrapper):
    """Looks for a status from the first version on, whatever was asked."""

    async def first_version_at(self, run_id: str, status: int, *, since: int = 1) -> int | None:
        found: int | None = await self.real.first_version_at(run_id, status)
        return found


class KeepsReasonsOfVersions(Wrapper):
    """Erases objects and errors, and leaves the reasons in the history."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self._reasons: dict[tuple[str, int, str], str] = {}

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        for change in changes:
            if isinstance(change, NewVersion):
                record = change.record
                self._reasons[record.run_id, record.version, record.attempt_id] = record.meta.reason
        return list(await self.real.store(changes))

    async def history(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Version]:
        return [
            msgspec.structs.replace(
                row,
                meta=msgspec.structs.replace(row.meta, reason=self._reason(row)),
            )
            for row in await self.real.history(run_id, after=after, limit=limit)
        ]

    def _reason(self, row: Version) -> str:
        return self._reasons.get((row.run_id, row.version, row.attempt_id), row.meta.reason)


class KeepsReasonsOfDeadLetters(Wrapper):
    """Erases the bytes of dead letters, and leaves their reasons."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self._reasons: dict[tuple[str, str], str] = {}

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        self._reasons |= {(letter.run_id, letter.source): letter.reason for letter in letters}
        await self.real.add_dead_letters(letters)

    async def list_dead_letters(self, query: DeadLetterQuery) -> Page[DeadLetter]:
        page = await self.real.list_dead_letters(query)
        return Page([self._unerased(letter) for letter in page], page.next)

    async def lookup_dead_letters(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        return [self._unerased(letter) for letter in await self.real.lookup_dead_letters(ids)]

    def _unerased(self, letter: DeadLetter) -> DeadLetter:
        if letter.data:
            return letter
        return msgspec.structs.replace(letter, reason=self._reasons.get((letter.run_id, letter.source), ""))


class KeepsWhatWaitsForTheErased(Wrapper):
    """Holds on to callbacks that are meant for a run alone that was erased."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        held = [one for change in changes for one in await _waiting(self.real, change)]
        outcomes = list(await self.real.store(changes))
        for one in held:
            await self.real.hold(one)
        return outcomes


class ForgetsWhatWaitsForOthers(Wrapper):
    """Drops with a run every callback that waits for its foreign ID."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        held = [one for change in changes for one in await _waiting(self.real, change)]
        outcomes = list(await self.real.store(changes))
        await self.real.release(held)
        return outcomes


async def _waiting(real: Any, change: Change) -> list[HeldCallback]:
    if not isinstance(change, NewVersion) or not change.erase:
        return []
    return list(await real.list_held(change.record.workflow_name, foreign_id=change.record.foreign_id))


FAULTS: tuple[Fault, ...] = (
    fault(
        "record_store",
        PagesRepeatTheLastVersion,
        "a_history_is_read_in_pages_from_any_version_on",
    ),
    fault(
        "record_store",
        PagesEndAtTheLatest,
        "a_history_is_read_in_pages_from_any_version_on",
        "a_history_does_not_change_with_the_marks",
    ),
    fault(
        "record_store",
        ForgetsTheActor,
        "cause_actor_and_reason_of_every_version_are_kept",
        "erasure_leaves_no_personal_data_in_any_answer",
        "erasure_keeps_the_audit_of_a_run",
    ),
    fault(
        "record_store",
        FindsTheFirstVersionEver,
        "the_first_version_at_a_status_is_looked_for_from_any_version_on",
    ),
    fault(
        "record_store",
        KeepsReasonsOfVersions,
        "erasure_leaves_no_personal_data_in_any_answer",
        "erasure_keeps_the_audit_of_a_run",
    ),
    fault(
        "record_store",
        KeepsReasonsOfDeadLetters,
        "erasure_leaves_no_personal_data_in_any_answer",
    ),
    fault(
        "record_store",
        KeepsWhatWaitsForTheErased,
        "erasure_leaves_no_personal_data_in_any_answer",
    ),
    fault(
        "record_store",
        ForgetsWhatWaitsForOthers,
        "erasure_leaves_no_personal_data_in_any_answer",
    ),
)
