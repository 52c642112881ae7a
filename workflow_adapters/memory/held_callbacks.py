"""Held callbacks in a dictionary, oldest first."""

import heapq
import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec.structs import replace

from workflow.protocols import HeldCallback, HeldCallbacks, Page

from ..kit.cursor import decode_cursor, encode_cursor

_LISTING = "memory:held callbacks"


class MemoryHeldCallbacks(HeldCallbacks):
    """Held callbacks by workflow, foreign ID and id, in the order in which they were held.

    Those that were taken are remembered for as long as the store lives.
    """

    def __init__(self) -> None:
        self._callbacks: dict[tuple[str, str, str], tuple[int, HeldCallback]] = {}
        self._callback_numbers = itertools.count(1)

    async def hold(self, callback: HeldCallback) -> HeldCallback:
        """Keep a callback, unless its id is known."""
        key = (callback.workflow_name, callback.foreign_id, callback.id)
        if key not in self._callbacks:
            self._callbacks[key] = (next(self._callback_numbers), callback)
            self.callback_was_held(callback.workflow_name)
        return self._callbacks[key][1]

    def callback_was_held(self, workflow_name: str) -> None:
        """Tell subscribers; the store as a whole knows them."""

    async def held(
        self, workflow_name: str, wanted: Sequence[tuple[str, int]], *, limit: int
    ) -> Sequence[HeldCallback]:
        """Held callbacks for these foreign IDs and statuses, oldest first."""
        pairs = set(wanted)
        found = (one for _, one in self._held_of(workflow_name) if (one.foreign_id, one.status) in pairs)
        return list(itertools.islice(found, limit))

    async def list_held(
        self, workflow_name: str, *, foreign_id: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[HeldCallback]:
        """One page, oldest first."""
        after = 0 if cursor is None else decode_cursor(_LISTING, cursor, [int])[0]
        found = [
            (number, one)
            for number, one in self._held_of(workflow_name)
            if number > after and foreign_id in (None, one.foreign_id)
        ]
        shown = found[:limit]
        more = encode_cursor(_LISTING, shown[-1][0]) if len(found) > len(shown) else None
        return Page((one for _, one in shown), more)

    async def list_expired(self, workflow_name: str, *, now: datetime, limit: int) -> Sequence[HeldCallback]:
        """Expired ones, the earliest first."""
        expired = (one for _, one in self._held_of(workflow_name) if one.expires_at <= now)
        return heapq.nsmallest(limit, expired, key=lambda one: one.expires_at)

    async def release(self, callbacks: Sequence[HeldCallback]) -> None:
        """Forget held callbacks."""
        for one in callbacks:
            key = (one.workflow_name, one.foreign_id, one.id)
            if key in self._callbacks and not self._callbacks[key][1].taken_by:
                del self._callbacks[key]

    def are_held(self, workflow_name: str, foreign_id: str, ids: Sequence[str]) -> bool:
        """True if each of these callbacks can be taken."""
        keys = ((workflow_name, foreign_id, id_) for id_ in ids)
        return all(key in self._callbacks and not self._callbacks[key][1].taken_by for key in keys)

    def take_callbacks(self, workflow_name: str, foreign_id: str, ids: Sequence[str], run_id: str) -> None:
        """Note that a run took these callbacks; their payloads are dropped."""
        for id_ in ids:
            key = (workflow_name, foreign_id, id_)
            number, one = self._callbacks[key]
            self._callbacks[key] = (number, replace(one, taken_by=run_id, payload=b""))

    def forget_callbacks(self, run_id: str) -> None:
        """Forget those that are held for this run alone: it is erased."""
        held = [key for key, (_, one) in self._callbacks.items() if one.run_id == run_id and not one.taken_by]
        for key in held:
            del self._callbacks[key]

    def _held_of(self, workflow_name: str) -> Iterator[tuple[int, HeldCallback]]:
        return (
            (number, one)
            for number, one in self._callbacks.values()
            if one.workflow_name == workflow_name and not one.taken_by
        )
