"""Runs and their histories in dictionaries."""

import heapq
import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from workflow.protocols import (
    ALREADY_APPLIED,
    APPLIED,
    COUNT_CAP,
    NO_MARKS,
    RUNNABLE,
    Change,
    Count,
    NewVersion,
    Note,
    Outcome,
    Page,
    Record,
    RecordFilter,
    RecordQuery,
    Runs,
    RunState,
    StalledQuery,
    StatusCount,
    Verdict,
    Version,
    refused,
)

from ..kit.text import check_text
from .dead_letters import MemoryDeadLetters
from .held_callbacks import MemoryHeldCallbacks
from .listing import counts_of, is_stalled, matches, page_of
from .outbox import MemoryOutbox


class MemoryRuns(Runs):
    """Runs in dictionaries.

    Args:
        outbox, letters, held: what is written together with runs.
    """

    def __init__(self, outbox: MemoryOutbox, letters: MemoryDeadLetters, held: MemoryHeldCallbacks) -> None:
        self._outbox, self._dead_letters, self._held = outbox, letters, held
        self._records: dict[str, Record] = {}
        # As records, because most are never read: `history` makes versions of them.
        self._history: dict[str, list[Record]] = {}
        self._first_versions: dict[str, dict[int, int]] = {}
        self._numbers: dict[str, int] = {}
        self._live: dict[tuple[str, str], str] = {}
        self._last_created: dict[tuple[str, str], str] = {}
        # Runs that may owe work, and runs that the engine paused: a dictionary keeps their order.
        self._owing: dict[str, None] = {}
        self._auto_paused: dict[str, None] = {}

    # -- writing ---------------------------------------------------------------------------------------------

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Apply each change whose expected version is the present one."""
        outcomes = []
        written: set[str] = set()
        for change in changes:
            outcome = self._new_version(change) if isinstance(change, NewVersion) else self._note(change)
            if outcome is APPLIED and change.event is not None:
                written.add(change.event.workflow_name)
            outcomes.append(outcome)
        for name in written:
            self.outbox_was_written(name)
        return outcomes

    def outbox_was_written(self, workflow_name: str) -> None:
        """Tell subscribers; the store as a whole knows them."""

    def _new_version(self, change: NewVersion) -> Outcome:
        record = change.record
        present = self._records.get(record.run_id)
        obstacle = self._obstacle(change, present)
        if obstacle is not None:
            return obstacle
        if present is None:
            self._create(record)
            marks = NO_MARKS
        else:
            marks = present.marks.after(same_visit=present.visit == record.visit)
        if change.takes:
            self._held.take_callbacks(record.workflow_name, record.foreign_id, change.takes, record.run_id)
        if change.erase:
            self._erase(record.run_id)
        self._put(record if record.marks == marks else replace(record, marks=marks))
        self._history[record.run_id].append(record if change.keep_object else replace(record, object=b""))
        self._first_versions[record.run_id].setdefault(record.status, record.version)
        self._outbox.append_event(change.event, change.due_at)
        return APPLIED

    def _obstacle(self, change: NewVersion, present: Record | None) -> Outcome | None:
        """Why this version cannot be written; None if it can."""
        record = change.record
        if (present.version if present is not None else 0) != record.version - 1 or _is_other(change, present):
            return self._already_written(record, present)
        if record.run_state.live:
            live = self._live.get((record.workflow_name, record.foreign_id))
            if live is not None and live != record.run_id:
                return Outcome(Verdict.IN_PROGRESS, self._records[live])
        if change.takes and not self._held.are_held(record.workflow_name, record.foreign_id, change.takes):
            return Outcome(Verdict.CONFLICT, present)
        if change.on_commit:
            return refused(TypeError("on_commit: memory has no transaction to write in"))
        if present is None:
            try:
                for field in ("run_id", "workflow_name", "foreign_id"):
                    check_text(field, getattr(record, field))
            except ValueError as error:
                return refused(error)
        return None

    def _already_written(self, record: Record, present: Record | None) -> Outcome:
        history = self._history.get(record.run_id, ())
        if 0 < record.version <= len(history) and history[record.version - 1].attempt_id == record.attempt_id:
            return ALREADY_APPLIED
        return Outcome(Verdict.CONFLICT, present)

    def _create(self, record: Record) -> None:
        self._numbers[record.run_id] = len(self._numbers) + 1
        self._last_created[record.workflow_name, record.foreign_id] = record.run_id
        self._history[record.run_id] = []
        self._first_versions[record.run_id] = {}

    def _put(self, record: Record) -> None:
        run_id, key = record.run_id, (record.workflow_name, record.foreign_id)
        self._records[run_id] = record
        if record.run_state.live:
            self._live[key] = run_id
        elif self._live.get(key) == run_id:
            del self._live[key]
        if record.run_state in RUNNABLE or record.run_state is RunState.REQUESTED_DATA_DELETED:
            self._owing[run_id] = None
        else:
            self._owing.pop(run_id, None)
        if record.run_state is RunState.PAUSED and record.auto_paused:
            self._auto_paused[run_id] = None
        else:
            self._auto_paused.pop(run_id, None)

    def _note(self, note: Note) -> Outcome:
        present = self._records.get(note.run_id)
        if present is None or present.version != note.version or _is_other(note, present):
            return Outcome(Verdict.CONFLICT, present)
        if note.marks_anything:
            marks = present.marks
            marks = replace(
                marks,
                skipped=marks.skipped if note.skipped is None else note.skipped,
                timers_armed=marks.timers_armed if note.timers_armed is None else note.timers_armed,
                claimed_by=marks.claimed_by if note.claimed_by is None else note.claimed_by,
                reemitted_at=marks.reemitted_at if note.reemitted_at is None else note.reemitted_at,
            )
            self._records[note.run_id] = replace(present, marks=marks)
        if note.event is not None:
            self._outbox.append_event(note.event, note.due_at)
        return APPLIED

    def _erase(self, run_id: str) -> None:
        self._history[run_id] = [
            replace(
                version,
                object=b"",
                last_error="",
                meta=replace(version.meta, run_state_reason="", reason=""),
            )
            for version in self._history[run_id]
        ]
        self._dead_letters.erase_dead_letters(run_id)
        self._held.forget_callbacks(run_id)

    # -- reading ---------------------------------------------------------------------------------------------

    async def lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        """The present records."""
        records = self._records
        return {run_id: records[run_id] for run_id in run_ids if run_id in records}

    async def latest(self, workflow_name: str, foreign_id: str) -> Record | None:
        """The live run, else the last created."""
        key = (workflow_name, foreign_id)
        run_id = self._live.get(key) or self._last_created.get(key)
        return None if run_id is None else self._records[run_id]

    async def list(self, query: RecordQuery) -> Page[Record]:
        """One page of the records that match."""
        return page_of(self._records.values(), query, self._numbers.__getitem__)

    async def count(self, query: RecordFilter, *, cap: int = COUNT_CAP) -> Count:
        """How many records match."""
        matching = (record for record in self._records.values() if matches(query, record))
        found = sum(1 for _ in itertools.islice(matching, cap + 1))
        return Count(min(found, cap), found > cap)

    async def counts(self, workflow_name: str) -> Mapping[int, StatusCount]:
        """The runs of a workflow by status."""
        return counts_of(record for record in self._records.values() if record.workflow_name == workflow_name)

    async def history(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Version]:
        """The versions above `after`."""
        found = self._history.get(run_id, ())[after : None if limit is None else after + limit]
        return [record.as_version() for record in found]

    async def first_version_at(self, run_id: str, status: int, *, since: int = 1) -> int | None:
        """The first version with this status."""
        first = self._first_versions.get(run_id, {}).get(status)
        if first is None or first >= since:
            return first
        later = self._history[run_id][since - 1 :]
        return next((version.version for version in later if version.status == status), None)

    async def find_attempt(self, run_id: str, attempt_id: str) -> int | None:
        """The version this attempt wrote."""
        versions = self._history.get(run_id, ())
        return next((version.version for version in versions if version.attempt_id == attempt_id), None)

    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        """Stalled records, the one due longest ago first."""
        found = (self._records[run_id] for run_id in self._owing if is_stalled(query, self._records[run_id]))
        return heapq.nsmallest(query.limit, found, key=lambda record: record.due_at)

    async def list_auto_paused(self, workflow_name: str, *, paused_until: datetime, limit: int) -> Sequence[Record]:
        """Records that the engine paused, oldest first."""
        records = (self._records[run_id] for run_id in self._auto_paused)
        found = (r for r in records if r.workflow_name == workflow_name and r.updated_at <= paused_until)
        return heapq.nsmallest(limit, found, key=lambda record: record.updated_at)


def _is_other(change: Change, present: Record | None) -> bool:
    """True if the present version is not the one that the change was made from, although its number fits."""
    return present is not None and change.base_attempt not in ("", present.attempt_id)
