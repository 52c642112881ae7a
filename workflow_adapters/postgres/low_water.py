"""From which id the outbox of one workflow is looked at.

While any process keeps a snapshot open, deleted rows stay in the index and every look would walk over them. So a look
begins at a low-water id: the highest id that was deleted a moment ago. A transaction that was slower than that moment
commits rows below it; a full look from the beginning finds them, every few seconds, and the less often the longer it
takes.
"""

import time
from collections import deque

__all__ = ["LowWater"]

_SETTLED_AFTER = 2.0
"""Seconds after which ids count as settled: a transaction slower than this is left to the full look."""

_FULL_LOOK_EVERY = 5.0
_FULL_LOOK_SHARE = 50.0
"""A full look that took t seconds is not repeated before 50 t have passed, so that it costs at most 2 %."""


class LowWater:
    """The low-water id of one workflow."""

    def __init__(self) -> None:
        self._mark = 0
        self._deleted: deque[tuple[float, int]] = deque()
        self._next_full = 0.0

    def start(self, held_until: float) -> int:
        """The id to begin after; 0 when it is time for a full look. The mark stays where it is until `held_until`."""
        now = time.monotonic()
        while self._deleted and self._deleted[0][0] < now - _SETTLED_AFTER:
            _, highest = self._deleted.popleft()
            if now > held_until:
                self._mark = max(self._mark, highest)
        return 0 if now >= self._next_full else self._mark

    def looked(self, began: float) -> None:
        """A full look that began then has ended."""
        now = time.monotonic()
        self._next_full = now + max(_FULL_LOOK_EVERY, _FULL_LOOK_SHARE * (now - began))

    def deleted(self, highest: int) -> None:
        """Rows up to this id, listed before, are gone."""
        self._deleted.append((time.monotonic(), highest))
