"""The statuses of a workflow and the moves between them.

Owns the question "may a run go from here to there?"; nothing else compares statuses with declarations. The graph knows
plain integers only, so that checks, drawings and the history checker can use it without the user's enum.
"""

from collections.abc import Iterable
from typing import NamedTuple


class GraphInfo(NamedTuple):
    """The facts that a drawing or a description of a graph needs.

    Attributes:
        transitions: every declared edge, grouped by origin in order of first appearance.
        starting: statuses that no edge leads to, in order of first appearance.
        terminal: statuses that no edge leaves, in order of first appearance.
    """

    transitions: tuple[tuple[int, int], ...]
    starting: tuple[int, ...]
    terminal: tuple[int, ...]


class StatusGraph:
    """A directed multigraph of statuses: an edge declared twice is kept twice, because a drawing shows both."""

    def __init__(self) -> None:
        # A dict keeps the order of first appearance; every node has an entry, terminal ones an empty one.
        self._destinations: dict[int, list[int]] = {}
        self._edges: set[tuple[int, int]] = set()
        self._entered: set[int] = set()
        self._reachable: dict[int, frozenset[int]] = {}

    def add(self, origin: int, destination: int) -> None:
        """Declare that a run may move from `origin` to `destination`."""
        origin, destination = int(origin), int(destination)
        self._destinations.setdefault(origin, []).append(destination)
        self._destinations.setdefault(destination, [])
        self._edges.add((origin, destination))
        self._entered.add(destination)
        self._reachable.clear()

    def nodes(self) -> tuple[int, ...]:
        """Every status on either side of an edge, ascending."""
        return tuple(sorted(self._destinations))

    def __contains__(self, status: object) -> bool:
        return status in self._destinations

    def transitions(self, origin: int) -> tuple[int, ...]:
        """The destinations declared for `origin`, in order of declaration, duplicates included."""
        return tuple(self._destinations.get(origin, ()))

    def allows(self, origin: int, destination: int) -> bool:
        """True if an edge leads from `origin` to `destination`."""
        return (origin, destination) in self._edges

    def is_terminal(self, status: int) -> bool:
        """True if an edge leads to the status and none leaves it."""
        return status in self._entered and not self._destinations[status]

    def starting(self) -> tuple[int, ...]:
        """Statuses that no edge leads to, not even their own, in order of first appearance."""
        return tuple(node for node in self._destinations if node not in self._entered)

    def terminal(self) -> tuple[int, ...]:
        """Statuses that no edge leaves, in order of first appearance."""
        return tuple(node for node in self._destinations if self.is_terminal(node))

    def info(self) -> GraphInfo:
        """The whole graph as a value."""
        edges = tuple((origin, to) for origin, destinations in self._destinations.items() for to in destinations)
        return GraphInfo(edges, self.starting(), self.terminal())

    def unreachable(self, start: Iterable[int]) -> tuple[int, ...]:
        """Statuses that no run starting at one of these can ever enter, ascending."""
        reached: set[int] = set()
        for status in start:
            reached |= self._reachable_from(status)
        return tuple(node for node in self.nodes() if node not in reached)

    def can_reach(self, origin: int, wanted: int) -> bool:
        """True if a run at `origin` is at `wanted` already or may still get there."""
        return wanted in self._reachable_from(origin)

    def _reachable_from(self, origin: int) -> frozenset[int]:
        known = self._reachable.get(origin)
        if known is not None:
            return known
        found = {int(origin)}
        pending = [origin]
        while pending:
            for destination in self._destinations.get(pending.pop(), ()):
                if destination not in found:
                    found.add(destination)
                    pending.append(destination)
        return self._reachable.setdefault(origin, frozenset(found))
