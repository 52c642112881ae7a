"""A checked and frozen declaration: everything about one workflow that is known before it runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic

from .._model.graph import StatusGraph
from .._model.run import ObjectT, StatusT
from .._model.run_state import RunState
from ..errors import StatusNotConfigured
from .handlers import Callback, Connector, Handler, ScheduleDeclaration, Step, Timeout


@dataclass(frozen=True, slots=True)
class Definition(Generic[ObjectT, StatusT]):
    """One workflow's declaration.

    Attributes:
        starting_points: where runs may start, the default first.
        steps: by the status they consume. callbacks, timeouts: by status, in the order of declaration.
        hooks: by the run state they are called for.
        nodes: every status that a run can be in.
    """

    name: str
    object_type: type[ObjectT]
    status_type: type[StatusT]
    graph: StatusGraph
    starting_points: tuple[int, ...]
    steps: Mapping[int, Step]
    callbacks: Mapping[int, tuple[Callback, ...]]
    timeouts: Mapping[int, tuple[Timeout, ...]]
    connectors: tuple[Connector, ...]
    hooks: Mapping[RunState, Handler]
    schedules: tuple[ScheduleDeclaration, ...]
    nodes: frozenset[int]

    @property
    def starting_point(self) -> int:
        """Where a run starts when trigger is not told."""
        return self.starting_points[0]

    def status_text(self, status: int) -> str:
        """The status for people; a number the enum no longer knows as that number."""
        return status_text(self.status_type, status)

    def checked(self, status: Any) -> int:
        """The number of a status given by a caller.

        Raises:
            StatusNotConfigured: it is not a member of this workflow's enum, or not in its graph.
        """
        number = self.member(status)
        if number not in self.nodes:
            raise StatusNotConfigured(self.name, status)
        return number

    def member(self, status: Any) -> int:
        """The number of a status given by a caller; it need not be in the graph.

        Raises:
            StatusNotConfigured: it is not a member of this workflow's enum.
        """
        # IntEnums of equal value are equal, so only the type tells.
        if type(status) is not self.status_type:
            raise StatusNotConfigured(self.name, status, f"not a member of {self.status_type.__name__}")
        return int(status)


def status_text(status_type: type[IntEnum], status: int) -> str:
    """The text of the enum's own `__str__`, if it has one; else the member's name as words ("Otp Verified")."""
    try:
        member = status_type(status)
    except ValueError:
        return str(int(status))
    if has_own_text(status_type):
        return str(member)
    return member.name.replace("_", " ").title()


def has_own_text(status_type: type[IntEnum]) -> bool:
    """True if the enum (or a base of the user's) defines how its members read."""
    return status_type.__str__ is not IntEnum.__str__
