"""Records, their history, outboxes and dead letters in dictionaries."""

import heapq
import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from workflow.protocols import (
    ALREADY_APPLIED,
    APPLIED,
    RUNNABLE,
    Change,
    DeadLetter,
    Emit,
    Event,
    Mark,
    NewVersion,
    Order,
    OutboxEvent,
    OutboxPage,
    Outcome,
    Record,
    RecordQuery,
    RecordStore,
    RunState,
    StalledQuery,
    Verdict,
)

from .outbox import Outbox


class MemoryRecordStore(RecordStore):
    """Records in dictionaries."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._history: dict[str, list[Record]] = {}
        self._passed: dict[str, dict[int, int]] = {}
        self._live: dict[tuple[str, str], str] = {}
        self._created: dict[tuple[str, str], str] = {}
        self._open: dict[str, None] = {}
        self._auto_paused: dict[str, None] = {}
        self._outboxes: dict[str, Outbox] = {}
        self._outbox_of: dict[str, str] = {}
        self._letters: list[DeadLetter] = []
        self._sequence = itertools.count(1)

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Apply each change whose expected version is the present one."""
        for change in changes:
            _check(change)
        for change in changes:
            if isinstance(change, NewVersion) and change.on_commit:
                raise TypeError("on_commit: memory has no transaction to write in")
        outcomes = []
        signalled: set[str] = set()
        for change in changes:
            if isinstance(change, NewVersion):
                outcome = self._move(change)
            elif isinstance(change, Mark):
                outcome = self._mark(change)
            else:
                outcome = self._emit(change)
            if outcome is APPLIED and not isinstance(change, Mark):
                signalled.add(change.event.workflow_name)
            outcomes.append(outcome)
        for name in signalled:
            self._outbox(name).signal.set()
        return outcomes

    def _move(self, move: NewVersion) -> Outcome:
        record = move.record
        run_id = record.run_id
        present = self._records.get(run_id)
        if present is None or present.version != record.version - 1:
            if record.version > 1 or present is not None:
                return self._already(move, present)
            live = self._live.get((record.workflow_name, record.foreign_id))
            if live is not None:
                return Outcome(Verdict.IN_PROGRESS, self._records[live])
            self._created[record.workflow_name, record.foreign_id] = run_id
            self._history[run_id] = []
            self._passed[run_id] = {}
        armed = present is not None and present.armed and present.visit == record.visit
        if record.skipped or record.started_by or record.swept_at is not None or record.armed != armed:
            record = replace(record, skipped=False, started_by="", swept_at=None, armed=armed)
        if move.erase:
            self._erase(run_id)
        self._history[run_id].append(record if move.keep_object else replace(record, object=b""))
        self._passed[run_id].setdefault(record.status, record.version)
        self._put(record)
        self._append(move.event, move.due_at)
        return APPLIED

    def _put(self, record: Record) -> None:
        run_id, key = record.run_id, (record.workflow_name, record.foreign_id)
        self._records[run_id] = record
        if record.run_state.live:
            self._live[key] = run_id
        elif self._live.get(key) == run_id:
            del self._live[key]
        if record.run_state in RUNNABLE or record.run_state is RunState.REQUESTED_DATA_DELETED:
            self._open[run_id] = None
        else:
            self._open.pop(run_id, None)
        if record.run_state is RunState.PAUSED and record.auto_paused:
            self._auto_paused[run_id] = None
        else:
            self._auto_paused.pop(run_id, None)

    def _already(self, move: NewVersion, present: Record | None) -> Outcome:
        history = self._history.get(move.record.run_id, ())
        version = move.record.version
        if 0 < version <= len(history) and history[version - 1].attempt_id == move.record.attempt_id:
            return ALREADY_APPLIED
        return Outcome(Verdict.CONFLICT, present)

    def _mark(self, mark: Mark) -> Outcome:
        present = self._records.get(mark.run_id)
        if present is None or present.version != mark.version:
            return Outcome(Verdict.CONFLICT, present)
        self._records[mark.run_id] = replace(
            present,
            skipped=present.skipped if mark.skipped is None else mark.skipped,
            armed=present.armed if mark.armed is None else mark.armed,
            started_by=present.started_by if mark.started_by is None else mark.started_by,
        )
        return APPLIED

    def _emit(self, emit: Emit) -> Outcome:
        present = self._records.get(emit.run_id)
        if present is None or present.version != emit.version:
            return Outcome(Verdict.CONFLICT, present)
        if emit.swept_at is not None:
            self._records[emit.run_id] = replace(present, swept_at=emit.swept_at)
        self._append(emit.event, emit.due_at)
        return APPLIED

    def _append(self, event: Event, due_at: datetime | None) -> None:
        number = next(self._sequence)
        id_ = str(number)
        outbox = self._outbox(event.workflow_name)
        entry = OutboxEvent(id=id_, event=event, due_at=due_at)
        self._outbox_of[id_] = event.workflow_name
        if due_at is None:
            outbox.now[id_] = entry
        else:
            outbox.waiting[id_] = entry
            heapq.heappush(outbox.later, (due_at, number, id_))

    def _erase(self, run_id: str) -> None:
        self._history[run_id] = [
            replace(version, object=b"", last_error="", meta=replace(version.meta, run_state_reason=""))
            for version in self._history[run_id]
        ]
        self._letters = [replace(x, data=b"", reason="") if x.run_id == run_id else x for x in self._letters]

    def _outbox(self, workflow_name: str) -> Outbox:
        outbox = self._outboxes.get(workflow_name)
        if outbox is None:
            outbox = self._outboxes[workflow_name] = Outbox()
        return outbox

    async def lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        """The present records."""
        records = self._records
        return {run_id: records[run_id] for run_id in run_ids if run_id in records}

    async def latest(self, workflow_name: str, foreign_id: str) -> Record | None:
        """The live run, else the last created."""
        key = (workflow_name, foreign_id)
        run_id = self._live.get(key) or self._created.get(key)
        return None if run_id is None else self._records[run_id]

    async def list(self, query: RecordQuery) -> Sequence[Record]:
        """The records that match, in order of creation (a dictionary keeps it)."""
        records = self._records.values()
        ordered = reversed(records) if query.order is Order.DESCENDING else iter(records)
        matching = (record for record in ordered if _matches(query, record))
        return list(itertools.islice(matching, query.offset, query.offset + query.limit))

    async def history(self, run_id: str) -> Sequence[Record]:
        """Every version."""
        return list(self._history.get(run_id, ()))

    async def passed(self, run_id: str, status: int) -> int | None:
        """The first version with this status."""
        return self._passed.get(run_id, {}).get(status)

    async def find_attempt(self, run_id: str, attempt_id: str) -> int | None:
        """The version this attempt wrote."""
        versions = self._history.get(run_id, ())
        return next((version.version for version in versions if version.attempt_id == attempt_id), None)

    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        """What may be sent."""
        return self._outbox(workflow_name).page(now, limit)

    async def delete_outbox(self, ids: Sequence[str]) -> None:
        """Remove events."""
        for id_ in ids:
            name = self._outbox_of.pop(id_, None)
            if name is not None:
                self._outboxes[name].delete(id_)

    async def wait_for_outbox(self, workflow_name: str) -> None:
        """Return when something was written since the last return."""
        outbox = self._outbox(workflow_name)
        await outbox.signal.wait_beyond(outbox.seen)
        outbox.seen = outbox.signal.count

    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        """Stalled records, the one due longest ago first."""
        records = (self._records[run_id] for run_id in self._open)
        found = (record for record in records if _stalled(query, record))
        return heapq.nsmallest(query.limit, found, key=lambda record: record.due_at)

    async def list_auto_paused(self, workflow_name: str, *, paused_before: datetime, limit: int) -> Sequence[Record]:
        """Records that the engine paused, oldest first."""
        records = (self._records[run_id] for run_id in self._auto_paused)
        found = (r for r in records if r.workflow_name == workflow_name and r.updated_at < paused_before)
        return heapq.nsmallest(limit, found, key=lambda record: record.updated_at)

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters."""
        self._letters += [replace(letter, id=str(next(self._sequence))) for letter in letters]

    async def dead_letters(self, workflow_name: str, *, limit: int = 100) -> Sequence[DeadLetter]:
        """The dead letters, oldest first."""
        return [letter for letter in self._letters if letter.workflow_name == workflow_name][:limit]


def _check(change: Change) -> None:
    if isinstance(change, NewVersion):
        record = change.record
        for name, value in (("foreign_id", record.foreign_id), ("run_id", record.run_id)):
            if "\x00" in value:
                raise ValueError(f"{name} must not contain NUL: {value!r}")


def _matches(query: RecordQuery, record: Record) -> bool:
    return (
        (query.workflow_name is None or record.workflow_name == query.workflow_name)
        and (not query.foreign_ids or record.foreign_id in query.foreign_ids)
        and (not query.statuses or record.status in query.statuses)
        and (not query.run_states or record.run_state in query.run_states)
        and (query.created_after is None or record.created_at > query.created_after)
        and (query.created_before is None or record.created_at < query.created_before)
    )


def _stalled(query: StalledQuery, record: Record) -> bool:
    if record.workflow_name != query.workflow_name or record.due_at >= query.due_before:
        return False
    if record.swept_at is not None and query.now - record.swept_at < record.swept_at - record.due_at:
        return False
    if record.run_state is RunState.REQUESTED_DATA_DELETED:
        return query.deletions
    return (
        (record.status in query.step_statuses and not record.skipped)
        or (record.status in query.timer_statuses and not record.armed)
        or (bool(query.known_statuses) and record.status not in query.known_statuses)
    )
