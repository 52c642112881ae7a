"""Shards of one work that releases cut differently, while both live: which exclude each other, and which count.

"x-1-of-2" and "x-3-of-4" are shards of the work "x". Both read the partition 2, so two processes that hold them would
handle its runs twice. They are not held at the same time, and the processes agree on one count for the work: the
majority's. Everything here is a pure function of the live processes, their wishes, and the present holders.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import NamedTuple

__all__ = ["Cut", "HeldShards", "cut_of", "outvoted"]

_ENDING = re.compile(r"(.+)-([1-9]\d*)-of-([1-9]\d*)")


class Cut(NamedTuple):
    """A shard of a work: it reads the partitions p with p mod total = number - 1."""

    work: str
    number: int
    total: int

    def excludes(self, other: "Cut") -> bool:
        """True if another count's shard of the same work reads some of the same partitions."""
        differ = self.work == other.work and self.total != other.total
        return differ and (self.number - other.number) % math.gcd(self.total, other.total) == 0


def cut_of(role: str, group: str) -> Cut | None:
    """The shard that a role is; None for a role of another kind. Its group says so: any name could end like that."""
    cut = _read(role)
    return cut if cut is not None and group.endswith(f"/{cut.number}-of-{cut.total}") else None


@lru_cache(maxsize=4096)
def _read(role: str) -> Cut | None:
    found = _ENDING.fullmatch(role)
    return Cut(found[1], int(found[2]), int(found[3])) if found else None


class HeldShards:
    """The shards that are held."""

    def __init__(self, roles: Iterable[str]) -> None:
        self._cuts: dict[str, dict[Cut, str]] = defaultdict(dict)
        for role in roles:
            self.add(role)

    def add(self, role: str) -> None:
        """This role is held too."""
        if (cut := _read(role)) is not None:
            self._cuts[cut.work][cut] = role

    def against(self, cut: Cut | None) -> list[str]:
        """The held roles that exclude this shard."""
        if cut is None or cut.work not in self._cuts:
            return []
        return [role for held, role in self._cuts[cut.work].items() if cut.excludes(held)]


def outvoted(wanted: Mapping[str, Mapping[str, str]], holders: Iterable[str]) -> AbstractSet[str]:
    """The wanted roles whose count is not the one that the processes use.

    They use the count that most processes want. Of two that as many want it is the one that has more of the work, so
    that nothing moves without need; then the larger.

    Args:
        wanted: for each live process, the group ("" for none) of each role that it holds or waits for.
        holders: the roles that are held.
    """
    wishes: dict[str, Counter[int]] = defaultdict(Counter)
    cuts: dict[str, Cut] = {}
    for roles in wanted.values():
        mine = {role: cut for role, group in roles.items() if (cut := cut_of(role, group)) is not None}
        cuts.update(mine)
        for work, total in {(cut.work, cut.total) for cut in mine.values()}:
            wishes[work][total] += 1
    if all(len(totals) == 1 for totals in wishes.values()):
        return frozenset()
    shares: dict[tuple[str, int], float] = defaultdict(float)
    for held in filter(None, map(_read, holders)):
        shares[held.work, held.total] += 1 / held.total
    chosen = {
        work: max((count, shares[work, total], total) for total, count in totals.items())[-1]
        for work, totals in wishes.items()
    }
    return frozenset(role for role, cut in cuts.items() if cut.total != chosen[cut.work])
