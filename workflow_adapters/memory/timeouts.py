"""Timers in a dictionary and a heap."""

import heapq
from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from workflow.errors import TimeoutNotFound
from workflow.protocols import Page, TimeoutPage, TimeoutQuery, TimeoutRecord, TimeoutStore, WakeUp

from ..kit.cursor import decode_cursor, encode_cursor
from ..kit.wake_ups import LocalWakeUps

_LISTING = "memory:timers"

SLACK = 1000
"""Entries a heap may hold beside what is due."""


class MemoryTimeoutStore(LocalWakeUps, TimeoutStore):
    """Timers in a dictionary and a heap."""

    def __init__(self) -> None:
        super().__init__({WakeUp.TIMEOUTS})
        self._timeouts: dict[str, TimeoutRecord] = {}
        self._runs: dict[str, set[str]] = {}
        self._due: dict[tuple[str, int], list[tuple[datetime, str]]] = {}

    async def create(self, timeouts: Sequence[TimeoutRecord]) -> None:
        """Keep new timers."""
        for timeout in timeouts:
            if timeout.id not in self._timeouts:
                self._write(timeout)

    def _write(self, timeout: TimeoutRecord) -> None:
        self._timeouts[timeout.id] = timeout
        self._runs.setdefault(timeout.run_id, set()).add(timeout.id)
        if not timeout.completed:
            heap = self._due.setdefault((timeout.workflow_name, timeout.status), [])
            if len(heap) > SLACK + 2 * len(self._timeouts):
                # Mostly timers that are gone: they would wait here for due times that may be far away.
                heap[:] = [entry for entry in heap if self._is_true(entry)]
                heapq.heapify(heap)
            heapq.heappush(heap, (timeout.due_at, timeout.id))
            self.wake(WakeUp.TIMEOUTS, timeout.workflow_name)

    async def claim_due(
        self, workflow_name: str, statuses: Sequence[int], *, now: datetime, until: datetime, limit: int
    ) -> TimeoutPage:
        """Due timers, ordered by due time."""
        heaps = [self._due.setdefault((workflow_name, status), []) for status in statuses]
        claimed: list[TimeoutRecord] = []
        while len(claimed) < limit:
            heads = [heap for heap in heaps if self._head(heap) is not None]
            if not heads or (heap := min(heads, key=lambda h: h[0]))[0][0] > now:
                break
            timeout = self._timeouts[heapq.heappop(heap)[1]]
            timeout = replace(timeout, due_at=until, claims=timeout.claims + 1)
            # At once: the heap may hold this timer twice, and only the dictionary knows that it is claimed.
            self._timeouts[timeout.id] = timeout
            claimed.append(timeout)
        for timeout in claimed:
            heapq.heappush(self._due[workflow_name, timeout.status], (timeout.due_at, timeout.id))
        taken = {timeout.id for timeout in claimed}
        others = [entry[0] for heap in heaps if (entry := self._head(heap)) is not None and entry[1] not in taken]
        return TimeoutPage(tuple(claimed), min(others, default=min((t.due_at for t in claimed), default=None)))

    def _head(self, heap: list[tuple[datetime, str]]) -> tuple[datetime, str] | None:
        """The first entry that still says the truth."""
        while heap:
            if self._is_true(heap[0]):
                return heap[0]
            heapq.heappop(heap)
        return None

    def _is_true(self, entry: tuple[datetime, str]) -> bool:
        timeout = self._timeouts.get(entry[1])
        return timeout is not None and not timeout.completed and timeout.due_at == entry[0]

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
            timeout = self._timeouts.pop(id_, None)
            if timeout is not None:
                of_run = self._runs[timeout.run_id]
                of_run.discard(id_)
                if not of_run:
                    del self._runs[timeout.run_id]

    async def list(self, query: TimeoutQuery) -> Page[TimeoutRecord]:
        """One page of the timers that match."""
        ids = self._timeouts if query.run_id is None else self._runs.get(query.run_id, ())
        found = sorted((t for t in map(self._timeouts.__getitem__, ids) if _matches(query, t)), key=_place)
        if query.cursor is not None:
            last = tuple(decode_cursor(_LISTING, query.cursor, [datetime, str]))
            found = [timeout for timeout in found if _place(timeout) > last]
        shown = found[: query.limit]
        more = encode_cursor(_LISTING, *_place(shown[-1])) if len(found) > len(shown) else None
        return Page(shown, more)


def _place(timeout: TimeoutRecord) -> tuple[datetime, str]:
    return timeout.due_at, timeout.id


def _matches(query: TimeoutQuery, timeout: TimeoutRecord) -> bool:
    return (
        timeout.workflow_name == query.workflow_name
        and (not query.statuses or timeout.status in query.statuses)
        and (query.due_before is None or timeout.due_at < query.due_before)
        and (query.completed or not timeout.completed)
    )
