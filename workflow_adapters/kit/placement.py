"""Which process should hold which role: a pure function of the live processes, their wishes, and the present holders.

Every process computes it from the same rows and comes to the same answer, so no process has to lead. The words:

- A *group* names roles that belong together (the roles of one shard of a workflow). A role without a group stands
  alone.
- A *unit* is what moves as one: the roles of one group that the same processes want. During a deploy a new release may
  want one role more than the old one. That role is a unit of its own, so it goes to a process that declares it.
- A *family* is spread evenly: the shards of one workflow, or all roles without a group.

Placement is advice. A lease decides who holds a role, and the compare-and-swap of the record store keeps the data
right even if two processes believe to hold it.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

__all__ = ["family_of", "place", "weight"]


class _Unit(NamedTuple):
    """Some roles of one group, the processes that want them, and the one that holds most of them."""

    name: str
    able: Sequence[str]
    roles: Sequence[str]
    holder: str | None


def place(wanted: Mapping[str, Mapping[str, str]], holders: Mapping[str, str]) -> dict[str, str]:
    """The process that should hold each role.

    If two processes want the same unit, the one that has it holds at most one unit of the family more than the other;
    units that only one process wants do not count. A holder keeps its unit unless another process has too few. A free
    unit goes to the process with the highest rendezvous weight that has room, so that a run meets the process that it
    was with before.

    Args:
        wanted: for each live process, the group ("" for none) of each role that it holds or waits for.
        holders: for each role that is held now, its holder.
    """
    placed: dict[str, str] = {}
    for units in _families(wanted, holders):
        shared = [unit for unit in units if len(unit.able) > 1]
        placed.update({role: unit.able[0] for unit in units if len(unit.able) == 1 for role in unit.roles})
        for unit, process in zip(shared, _Spread(shared).even(), strict=True):
            placed.update(dict.fromkeys(unit.roles, process))
    return placed


def _families(wanted: Mapping[str, Mapping[str, str]], holders: Mapping[str, str]) -> Iterable[Sequence[_Unit]]:
    groups: dict[str, str] = {}
    able: dict[str, list[str]] = {}
    for process in sorted(wanted):
        for role, group in wanted[process].items():
            able.setdefault(role, []).append(process)
            # Releases may disagree about the group of a role; all processes then take the same one.
            groups[role] = min(groups.get(role, group), group)
    units: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for role, group in groups.items():
        units.setdefault((family_of(group), group or f"\0{role}", tuple(able[role])), []).append(role)
    families: dict[str, list[_Unit]] = {}
    for (family, name, processes), roles in sorted(units.items()):
        families.setdefault(family, []).append(_Unit(name, processes, roles, _holder(roles, processes, holders)))
    return families.values()


def _holder(roles: Sequence[str], processes: Sequence[str], holders: Mapping[str, str]) -> str | None:
    """The process that holds most of these roles."""
    counts = Counter(holders[role] for role in roles if holders.get(role) in processes)
    return min(counts, key=lambda process: (-counts[process], process), default=None)


class _Spread:
    """The units of one family that several processes want, on their way to an even spread.

    It begins with each unit at its holder, or at the process with the highest weight for it. Then units move, one step
    at a time, from a process to one that has at least two fewer.
    """

    def __init__(self, units: Sequence[_Unit]) -> None:
        self._units = units
        self._places = [unit.holder or max(unit.able, key=lambda one: (weight(one, unit.name), one)) for unit in units]
        self._load = Counter(self._places)
        self._processes = sorted({process for unit in units for process in unit.able})

    def even(self) -> Sequence[str]:
        """The process of each unit, once no step is left that makes the spread more even."""
        while self._step():
            pass
        return self._places

    def _step(self) -> bool:
        """Make the spread more even, if that is possible."""
        for process in sorted(self._processes, key=lambda one: (-self._load[one], one)):
            routes = self._routes(process)
            emptiest = min(routes, key=lambda one: (self._load[one], len(routes[one]), one), default=process)
            if self._load[process] - self._load[emptiest] >= 2:
                self._move_along([process, *routes[emptiest]])
                return True
        return False

    def _routes(self, start: str) -> Mapping[str, Sequence[str]]:
        """The shortest way from a process to each other one, over processes that can hand a unit to the next."""
        routes: dict[str, Sequence[str]] = {start: ()}
        ends = [start]
        for end in ends:
            here = [unit for unit, place in zip(self._units, self._places, strict=True) if place == end]
            reached = {process for unit in here for process in unit.able}
            for process in sorted(reached - routes.keys()):
                routes[process] = (*routes[end], process)
                ends.append(process)
        del routes[start]
        return routes

    def _move_along(self, route: Sequence[str]) -> None:
        """Hand one unit from each process of the route to the next; a unit without a holder before one that has one."""
        for source, target in itertools.pairwise(route):
            movable = [
                index for index, unit in enumerate(self._units) if self._places[index] == source and target in unit.able
            ]
            chosen = max(
                movable,
                key=lambda index: (self._units[index].holder != source, weight(target, self._units[index].name), index),
            )
            self._places[chosen] = target
        self._load[route[0]] -= 1
        self._load[route[-1]] += 1


def family_of(group: str) -> str:
    """The groups that are spread evenly together: "orders/2-of-6" is one of the six shards of orders.

    A group that is no shard belongs to the one family of all such groups, together with the roles without a group.
    """
    name, slash, shard = group.rpartition("/")
    return f"{name}/{shard.partition('-of-')[2]}" if slash else ""


def weight(process: str, name: str) -> int:
    """How strong the claim of a process to a unit is: the same everywhere, and unlike for any other pair."""
    return int.from_bytes(hashlib.blake2b(f"{process}\0{name}".encode(), digest_size=8).digest(), "big")
