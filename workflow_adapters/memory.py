"""All ports in one process: for tests, for trying things out, and as the reference the other adapters are held to.

Nothing survives the process. Several workflows, and several engines, may share one backend.
"""

import asyncio
import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from msgspec.structs import replace

from workflow._change import ALREADY_APPLIED, APPLIED, Change, Emit, Mark, Move, Outcome, Verdict
from workflow._event import ConnectorEvent, DeadLetter, Event, OutboxEvent, OutboxPage
from workflow._record import Order, Record, RecordQuery, StalledQuery, TimeoutPage, TimeoutRecord
from workflow._runstate import RUNNABLE, RunState
from workflow._shard import Shard, partition_of
from workflow.errors import TimeoutNotFound
from workflow.protocols import (
    Backend,
    ConnectorReceiver,
    ConnectorSource,
    EventReceiver,
    EventStreamer,
    Lease,
    RecordStore,
    RoleScheduler,
    TimeoutStore,
)

PARTITIONS = 32
"""Partitions of every topic."""


class Signal:
    """Wakes everybody who waits; what was signalled between two waits of one waiter is not missed by it."""

    def __init__(self) -> None:
        self._count = 0
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def count(self) -> int:
        """How often it was set."""
        return self._count

    def set(self) -> None:
        """Wake all waiters."""
        self._count += 1
        if self._waiters:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.get_loop().call_soon_threadsafe(_resolve, waiter)
            self._waiters.clear()

    async def wait_beyond(self, count: int) -> None:
        """Return once it was set more often than `count` times."""
        while self._count <= count:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class _Outbox:
    """One workflow's outbox: events to send at once in order of commit, the others by due time."""

    def __init__(self) -> None:
        self.now: OrderedDict[str, OutboxEvent] = OrderedDict()
        self.later: list[tuple[datetime, int, str]] = []
        self.waiting: dict[str, OutboxEvent] = {}
        self.signal = Signal()
        self.seen = 0

    def page(self, now: datetime, limit: int) -> OutboxPage:
        """What may be sent; due delayed events get half of a full page, so that neither kind starves."""
        due: list[OutboxEvent] = []
        held: list[tuple[datetime, int, str]] = []
        while self.later and self.later[0][0] <= now and len(due) < limit:
            entry = heapq.heappop(self.later)
            if (event := self.waiting.get(entry[2])) is not None:
                held.append(entry)
                due.append(event)
        for entry in held:
            heapq.heappush(self.later, entry)
        share = max(limit - len(due), (limit + 1) // 2)
        first = list(itertools.islice(self.now.values(), share))
        events = (first + due)[:limit] if len(first) + len(due) <= limit else first + due[: limit - len(first)]
        chosen = {event.id for event in events}
        upcoming = [entry for entry in held if entry[2] not in chosen]
        rest = self._next_due(chosen)
        return OutboxPage(tuple(events), upcoming[0][0] if upcoming else rest)

    def _next_due(self, chosen: set[str]) -> datetime | None:
        while self.later and self.later[0][2] not in self.waiting:
            heapq.heappop(self.later)
        if not self.later:
            return None
        if self.later[0][2] not in chosen:
            return self.later[0][0]
        return min((due for due, _, id_ in self.later if id_ in self.waiting and id_ not in chosen), default=None)

    def delete(self, id_: str) -> None:
        self.now.pop(id_, None)
        self.waiting.pop(id_, None)


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
        self._outboxes: dict[str, _Outbox] = {}
        self._outbox_of: dict[str, str] = {}
        self._letters: list[DeadLetter] = []
        self._sequence = itertools.count(1)

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Apply each change whose expected version is the present one."""
        for change in changes:
            _check(change)
        for change in changes:
            if isinstance(change, Move) and change.on_commit:
                raise TypeError("on_commit: memory has no transaction to write in")
        outcomes = []
        signalled: set[str] = set()
        for change in changes:
            if isinstance(change, Move):
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

    def _move(self, move: Move) -> Outcome:
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

    def _already(self, move: Move, present: Record | None) -> Outcome:
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

    def _outbox(self, workflow_name: str) -> _Outbox:
        outbox = self._outboxes.get(workflow_name)
        if outbox is None:
            outbox = self._outboxes[workflow_name] = _Outbox()
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
    if isinstance(change, Move):
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


class _Partition:
    """The kept events of one partition of one topic; positions count from 1 and never start over."""

    __slots__ = ("events", "first")

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self.first = 1

    @property
    def end(self) -> int:
        """The position of the last event sent."""
        return self.first + len(self.events) - 1

    def after(self, position: int, limit: int) -> list[Event]:
        """Kept events beyond a position."""
        start = max(position + 1 - self.first, 0)
        return list(itertools.islice(self.events, start, start + limit))


KEEP = 10_000
"""Events a partition keeps before it drops those that every cursor has passed."""


class _Topic:
    def __init__(self) -> None:
        self.partitions = [_Partition() for _ in range(PARTITIONS)]
        self.signals = [Signal() for _ in range(PARTITIONS)]
        self.readers: set[_Receiver] = set()
        self.cursors: dict[str, dict[int, int]] = {}

    def trim(self, index: int) -> None:
        partition = self.partitions[index]
        if len(partition.events) <= KEEP or not self.cursors:
            return
        passed = min(cursors.get(index, 0) for cursors in self.cursors.values())
        for reader in self.readers:
            passed = min(passed, reader.position(index))
        while partition.events and partition.first <= passed:
            partition.events.popleft()
            partition.first += 1


class MemoryEventStreamer(EventStreamer):
    """Topics in lists."""

    def __init__(self) -> None:
        self.partitions = PARTITIONS
        self._topics: dict[str, _Topic] = {}

    def _topic(self, name: str) -> _Topic:
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic()
        return topic

    async def send(self, events: Sequence[Event]) -> None:
        """Append each event to its partition."""
        woken: set[_Receiver] = set()
        for event in events:
            topic = self._topic(event.topic)
            index = partition_of(event.run_id, PARTITIONS)
            partition = topic.partitions[index]
            partition.events.append(replace(event, partition=index, position=partition.end + 1))
            if len(partition.events) > KEEP:
                topic.trim(index)
            woken.update(topic.readers)
        for reader in woken:
            reader.signal.set()

    def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AbstractAsyncContextManager[EventReceiver]:
        """Open a reading."""
        return self._open(topic, name, shard, from_latest)

    @asynccontextmanager
    async def _open(self, topic: str, name: str, shard: Shard, from_latest: bool) -> AsyncIterator[EventReceiver]:
        source = self._topic(topic)
        receiver = _Receiver(source, name, shard, from_latest)
        source.readers.add(receiver)
        try:
            yield receiver
        finally:
            source.readers.discard(receiver)

    async def lag(self, topic: str, name: str) -> datetime | None:
        """The oldest event beyond the cursors."""
        source = self._topic(topic)
        cursors = source.cursors.get(name, {})
        unread = (p.after(cursors.get(index, 0), 1) for index, p in enumerate(source.partitions))
        return min((events[0].created_at for events in unread if events), default=None)


class _Receiver(EventReceiver):
    def __init__(self, topic: _Topic, name: str, shard: Shard, from_latest: bool) -> None:
        self._topic, self._name = topic, name
        self.signal = Signal()
        stored = topic.cursors.setdefault(name, {}) if name else {}
        self._positions: dict[int, int] = {}
        for index in shard.partitions(PARTITIONS):
            end = topic.partitions[index].end
            start = end if from_latest or not name else 0
            position = stored.get(index, start)
            # A cursor beyond the end belongs to a stream that was lost: start over.
            self._positions[index] = position if position <= end else 0
            if name and from_latest:
                stored.setdefault(index, start)

    def position(self, index: int) -> int:
        """How far this reader has read; the end for a partition it does not read."""
        return self._positions.get(index, self._topic.partitions[index].end)

    async def receive(self, limit: int) -> Sequence[Event]:
        """What is beyond the positions."""
        while True:
            seen = self.signal.count
            found: list[Event] = []
            for index, position in self._positions.items():
                partition = self._topic.partitions[index]
                if partition.end > position:
                    events = partition.after(position, limit - len(found))
                    if events:
                        found += events
                        self._positions[index] = events[-1].position
                    if len(found) >= limit:
                        break
            if found:
                return found
            await self.signal.wait_beyond(seen)

    async def ack(self, events: Sequence[Event]) -> None:
        """Move the cursors, forward only."""
        if not self._name:
            return
        cursors = self._topic.cursors[self._name]
        for event in events:
            index = event.partition
            stored = cursors.get(index, 0)
            if event.position > stored or stored > self._topic.partitions[index].end:
                cursors[index] = event.position


class MemoryLease(Lease):
    """A role held in this process."""

    def __init__(self, token: int, unclean: bool) -> None:
        self.token, self.unclean = token, unclean
        self.lost = asyncio.Event()


class MemoryRoleScheduler(RoleScheduler):
    """Roles as locks, handed over in the order of asking. A holder that dies takes the process with it."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._tokens: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        """Wait for the role and hold it."""
        return self._hold(role)

    @asynccontextmanager
    async def _hold(self, role: str) -> AsyncIterator[Lease]:
        while role in self._held:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            queue = self._waiting.setdefault(role, deque())
            queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next(role)
                raise
            finally:
                if turn in queue:
                    queue.remove(turn)
        self._held.add(role)
        self._tokens[role] = self._tokens.get(role, 0) + 1
        try:
            yield MemoryLease(self._tokens[role], unclean=False)
        finally:
            self._held.discard(role)
            self._next(role)

    def _next(self, role: str) -> None:
        queue = self._waiting.get(role, deque())
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.get_loop().call_soon_threadsafe(_resolve, turn)
                return


class MemoryTimeoutStore(TimeoutStore):
    """Timers in a dictionary and a heap."""

    def __init__(self) -> None:
        self._timeouts: dict[str, TimeoutRecord] = {}
        self._due: dict[tuple[str, int], list[tuple[datetime, str]]] = {}
        self._signals: dict[str, Signal] = {}
        self._seen: dict[str, int] = {}

    async def create(self, timeouts: Sequence[TimeoutRecord]) -> None:
        """Keep new timers."""
        for timeout in timeouts:
            if timeout.id not in self._timeouts:
                self._write(timeout)

    def _write(self, timeout: TimeoutRecord) -> None:
        self._timeouts[timeout.id] = timeout
        if not timeout.completed:
            heap = self._due.setdefault((timeout.workflow_name, timeout.status), [])
            heapq.heappush(heap, (timeout.due_at, timeout.id))
            self._signal(timeout.workflow_name).set()

    def _signal(self, workflow_name: str) -> Signal:
        return self._signals.setdefault(workflow_name, Signal())

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        """Timers that are due, the one due first first."""
        heaps = [self._due.setdefault((workflow_name, status), []) for status in statuses]
        claimed: list[TimeoutRecord] = []
        while len(claimed) < limit:
            heads = [heap for heap in heaps if self._head(heap) is not None]
            if not heads or (heap := min(heads, key=lambda h: h[0]))[0][0] > now:
                break
            timeout = self._timeouts[heapq.heappop(heap)[1]]
            timeout = replace(timeout, due_at=until, claims=timeout.claims + 1)
            claimed.append(timeout)
        for timeout in claimed:
            self._timeouts[timeout.id] = timeout
            heapq.heappush(self._due[workflow_name, timeout.status], (timeout.due_at, timeout.id))
        taken = {timeout.id for timeout in claimed}
        others = [entry[0] for heap in heaps if (entry := self._head(heap)) is not None and entry[1] not in taken]
        return TimeoutPage(tuple(claimed), min(others, default=min((t.due_at for t in claimed), default=None)))

    def _head(self, heap: list[tuple[datetime, str]]) -> tuple[datetime, str] | None:
        """The first entry that still says the truth."""
        while heap:
            due_at, id_ = heap[0]
            timeout = self._timeouts.get(id_)
            if timeout is not None and not timeout.completed and timeout.due_at == due_at:
                return heap[0]
            heapq.heappop(heap)
        return None

    async def postpone(self, timeouts: Sequence[TimeoutRecord]) -> None:
        """Write when timers are due again."""
        for timeout in timeouts:
            present = self._timeouts.get(timeout.id)
            if present is not None:
                changed = replace(
                    present, due_at=timeout.due_at, attempt=timeout.attempt, last_error=timeout.last_error
                )
                self._write(changed)

    async def complete(self, ids: Sequence[str]) -> None:
        """Mark timers completed."""
        missing = [id_ for id_ in ids if id_ not in self._timeouts]
        for id_ in ids:
            if id_ in self._timeouts:
                self._timeouts[id_] = replace(self._timeouts[id_], completed=True)
        if missing:
            raise TimeoutNotFound(missing[0])

    async def cancel(self, ids: Sequence[str]) -> None:
        """Remove timers."""
        for id_ in ids:
            self._timeouts.pop(id_, None)

    async def list(self, workflow_name: str, *, run_id: str | None = None) -> Sequence[TimeoutRecord]:
        """All timers."""
        found = [
            timeout
            for timeout in self._timeouts.values()
            if timeout.workflow_name == workflow_name and run_id in (None, timeout.run_id)
        ]
        return sorted(found, key=lambda timeout: (timeout.expire_at, timeout.id))

    async def wait_for_timeouts(self, workflow_name: str) -> None:
        """Return when a timer was written since the last return."""
        signal = self._signal(workflow_name)
        await signal.wait_beyond(self._seen.get(workflow_name, 0))
        self._seen[workflow_name] = signal.count


class MemoryBackend(Backend):
    """The four ports in memory."""

    def __init__(self) -> None:
        super().__init__(MemoryRecordStore(), MemoryEventStreamer(), MemoryRoleScheduler(), MemoryTimeoutStore())


class MemoryConnector(ConnectorSource):
    """A foreign stream in memory, for tests: events in a list, a cursor for each consumer name and partition."""

    def __init__(self, events: Sequence[ConnectorEvent] = ()) -> None:
        self._events: list[ConnectorEvent] = []
        self._cursors: dict[str, dict[int, int]] = {}
        self._signals: set[Callable[[], None]] = set()
        for event in events:
            self.append(event)

    def append(self, event: ConnectorEvent) -> None:
        """Add an event at the end."""
        partition = partition_of(event.id, PARTITIONS)
        self._events.append(replace(event, partition=partition, position=len(self._events) + 1))
        for signal in self._signals:
            signal()

    def receiver(self, name: str, *, shard: Shard) -> AbstractAsyncContextManager[ConnectorReceiver]:
        """Open a reading."""
        return self._open(name, shard)

    @asynccontextmanager
    async def _open(self, name: str, shard: Shard) -> AsyncIterator[ConnectorReceiver]:
        receiver = _ConnectorReceiver(self._events, self._cursors.setdefault(name, {}), shard)
        self._signals.add(receiver.signal.set)
        try:
            yield receiver
        finally:
            self._signals.discard(receiver.signal.set)


class _ConnectorReceiver(ConnectorReceiver):
    def __init__(self, events: list[ConnectorEvent], cursors: dict[int, int], shard: Shard) -> None:
        self._events, self._cursors, self._shard = events, cursors, shard
        self._next = 0
        self.signal = Signal()

    async def receive(self, limit: int) -> Sequence[ConnectorEvent]:
        """What is beyond the cursors and was not received yet."""
        while True:
            seen = self.signal.count
            found: list[ConnectorEvent] = []
            while self._next < len(self._events) and len(found) < limit:
                event = self._events[self._next]
                self._next += 1
                if self._shard.owns(event.partition) and event.position > self._cursors.get(event.partition, 0):
                    found.append(event)
            if found:
                return found
            await self.signal.wait_beyond(seen)

    async def ack(self, events: Sequence[ConnectorEvent]) -> None:
        """Move the cursors, forward only."""
        for event in events:
            self._cursors[event.partition] = max(event.position, self._cursors.get(event.partition, 0))
