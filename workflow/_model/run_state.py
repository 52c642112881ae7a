"""The life cycle of a run: which run state may follow which.

Owns `RunState` and `TRANSITIONS`. Nothing else may decide by hand whether a run may be paused, resumed, cancelled or
erased: a second copy of these rules is how those verbs come to disagree. A test compares the table in
`docs/concepts.md` with this one.
"""

from enum import IntEnum
from types import MappingProxyType


class RunState(IntEnum):
    """Where a run is in its life, whatever its status."""

    UNKNOWN = 0
    INITIATED = 1
    RUNNING = 2
    PAUSED = 3
    CANCELLED = 4
    COMPLETED = 5
    DATA_DELETED = 6
    REQUESTED_DATA_DELETED = 7

    def __init__(self, _number: int) -> None:
        self._text = self._name_.replace("_", " ").title()

    def __str__(self) -> str:
        return self._text

    @property
    def valid(self) -> bool:
        """True for every state that a stored run can have."""
        return self is not RunState.UNKNOWN

    @property
    def finished(self) -> bool:
        """True once no handler will ever move the run again: its foreign ID is free for a new run."""
        return self in _FINISHED

    @property
    def stopped(self) -> bool:
        """True while no step may run although the status may have one. A completed run is not stopped."""
        return self in _STOPPED

    @property
    def live(self) -> bool:
        """True while the run holds its foreign ID: initiated, running or paused."""
        return self in LIVE


LIVE = frozenset({RunState.INITIATED, RunState.RUNNING, RunState.PAUSED})
RUNNABLE = frozenset({RunState.INITIATED, RunState.RUNNING})

_FINISHED = frozenset({RunState.CANCELLED, RunState.COMPLETED, RunState.DATA_DELETED, RunState.REQUESTED_DATA_DELETED})
_STOPPED = frozenset({RunState.PAUSED, RunState.CANCELLED, RunState.DATA_DELETED, RunState.REQUESTED_DATA_DELETED})

TRANSITIONS = MappingProxyType(
    {
        RunState.UNKNOWN: frozenset(),
        # A run that no worker has started yet may be cancelled too: waiting for a worker is no reason to keep it.
        RunState.INITIATED: frozenset({RunState.RUNNING, RunState.PAUSED, RunState.CANCELLED}),
        RunState.RUNNING: frozenset({RunState.COMPLETED, RunState.PAUSED, RunState.CANCELLED}),
        RunState.PAUSED: frozenset({RunState.RUNNING, RunState.CANCELLED}),
        RunState.COMPLETED: frozenset({RunState.REQUESTED_DATA_DELETED}),
        RunState.CANCELLED: frozenset({RunState.REQUESTED_DATA_DELETED}),
        RunState.REQUESTED_DATA_DELETED: frozenset({RunState.DATA_DELETED}),
        RunState.DATA_DELETED: frozenset({RunState.REQUESTED_DATA_DELETED}),
    }
)
"""For each run state, the states that may follow it.

A step counts from Running: the first result of an initiated run makes it Running (or Completed). A version may always
keep the state of the one before: a failed attempt does.
"""
