"""Runs and foreign IDs that other transactions hold, as far as this process has met them or knows better.

Whoever inserts a foreign ID waits for every uncommitted insert of the same. Even a short wait holds a connection that
all other changes need, and undoes the batch. So what is known to be held is left out of batches, and asked for apart.
It is only a hint: a wrong one costs a moment.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from workflow.protocols import Change, NewVersion

from .joined import UsersTransaction

__all__ = ["Held"]

_Key: TypeAlias = str | tuple[str, str]
"""A run ID, or a workflow name and a foreign ID."""

_REMEMBERED_FOR = 10.0
"""Seconds that a foreign ID counts as held after it was found to be; the engine asks again more often."""

_WAIT = 5.0
"""Seconds to wait for the end of a transaction of this process, without a connection, before asking the server."""

_MOST = 10_000
"""Entries beyond which those that are out of date are looked for and removed."""


class Held:
    """What is known to be held. False if that is nothing."""

    def __init__(self) -> None:
        self._found: dict[_Key, float] = {}
        self._apart: dict[str, float] = {}
        self._joined: dict[_Key, UsersTransaction] = {}

    def __bool__(self) -> bool:
        return bool(self._found or self._apart or self._joined)

    def found(self, change: Change) -> None:
        """The server made this change wait for a key; ask for it apart from now on."""
        until = time.monotonic() + _REMEMBERED_FOR
        self._apart[change.run_id] = until
        if isinstance(change, NewVersion):
            self._found[_foreign_key(change)] = until
        if len(self._apart) + len(self._found) > _MOST:
            self._tidy()

    def settled(self, change: Change) -> None:
        """This change has an answer, so nobody holds what it needs."""
        self._apart.pop(change.run_id, None)
        if isinstance(change, NewVersion):
            self._found.pop(_foreign_key(change), None)

    def blocks(self, change: Change) -> bool:
        """True if the change must not be in a batch; it is asked for apart the next time."""
        now = time.monotonic()
        needs = list(_needs(change))
        if not any(self._is_found(key, now) for key in needs) and self._holder(needs) is None:
            return False
        self._apart[change.run_id] = now + _REMEMBERED_FOR
        return True

    def is_apart(self, change: Change) -> bool:
        """True if this change was left out of a batch before."""
        return self._apart.get(change.run_id, 0.0) >= time.monotonic()

    async def freed(self, change: Change) -> None:
        """Wait a moment if a transaction of this process holds what it needs, until that has ended."""
        holder = self._holder(_needs(change))
        if holder is not None:
            try:
                async with asyncio.timeout(_WAIT):
                    await holder.ended.wait()
            except TimeoutError:
                return  # the server knows better: a savepoint may have been rolled back

    def joined(self, changes: Iterable[Change], transaction: UsersTransaction) -> None:
        """These changes were written in a transaction that is not committed yet."""
        for change in changes:
            for key in _holds(change):
                self._joined[key] = transaction

    def ended(self, changes: Iterable[Change], transaction: UsersTransaction) -> None:
        """That transaction has ended."""
        for change in changes:
            for key in _holds(change):
                if self._joined.get(key) is transaction:
                    del self._joined[key]

    def _is_found(self, key: _Key, now: float) -> bool:
        until = self._found.get(key)
        if until is None:
            return False
        if until < now:
            del self._found[key]
            return False
        return True

    def _holder(self, keys: Iterable[_Key]) -> UsersTransaction | None:
        for key in keys:
            holder = self._joined.get(key)
            if holder is not None and not holder.is_over():
                return holder
        return None

    def _tidy(self) -> None:
        now = time.monotonic()
        self._apart = {key: until for key, until in self._apart.items() if until >= now}
        self._found = {key: until for key, until in self._found.items() if until >= now}


def _foreign_key(change: NewVersion) -> tuple[str, str]:
    return change.record.workflow_name, change.record.foreign_id


def _needs(change: Change) -> Iterator[_Key]:
    """What the change would have to wait for: rows are skipped, but for the foreign ID that a new run takes."""
    yield change.run_id
    if isinstance(change, NewVersion) and change.record.version == 1:
        yield _foreign_key(change)


def _holds(change: Change) -> Iterator[_Key]:
    """What others cannot have while the change is not committed; the end of a run gives its foreign ID away."""
    yield change.run_id
    if isinstance(change, NewVersion):
        yield _foreign_key(change)
