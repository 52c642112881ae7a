"""Which process should hold which roles: pure functions that every process computes alike.

Roles come in groups (the shards of a workflow; a role without a group is a group of its own), and a group goes to one
process. The process is chosen by rendezvous hashing over the live processes that want the group, with a cap: within a
family (the groups of one workflow) nobody gets more than its share, rounded up. Few groups move when a process joins
or leaves. Placement is advice: a lease decides who holds a role, and compare-and-swap keeps the data right anyway.
"""

import hashlib
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet


def family_of(group: str) -> str:
    """The groups that are spread evenly together: "orders/2-of-6" is one of the six shards of orders.

    A group that is no shard belongs to the one family of all such groups.
    """
    name, slash, shard = group.rpartition("/")
    return f"{name}/{shard.partition('-of-')[2]}" if slash else ""


def place(wanted: Mapping[str, AbstractSet[str]]) -> dict[str, str]:
    """The process that should hold each group, given the groups that each live process wants."""
    families: dict[str, set[str]] = {}
    for groups in wanted.values():
        for group in groups:
            families.setdefault(family_of(group), set()).add(group)
    placed: dict[str, str] = {}
    for groups in families.values():
        placed.update(_place_family(groups, wanted))
    return placed


def surplus(member: str, held: AbstractSet[str], wanted: Mapping[str, AbstractSet[str]]) -> str | None:
    """A group that `member` holds and should hand over, if it holds more than its share of a family.

    Who has no more than its share keeps it, whoever joins: moving a role costs more than it gains.
    """
    placed = place(wanted)
    for group in sorted(held):
        family = family_of(group)
        groups = {other for wants in wanted.values() for other in wants if family_of(other) == family}
        members = [one for one, wants in wanted.items() if wants & groups]
        mine = sum(1 for other in held if family_of(other) == family)
        if placed.get(group, member) != member and mine > math.ceil(len(groups) / max(len(members), 1)):
            return group
    return None


def _place_family(groups: set[str], wanted: Mapping[str, AbstractSet[str]]) -> dict[str, str]:
    members = [member for member, wants in wanted.items() if wants & groups]
    cap = math.ceil(len(groups) / len(members))
    load = dict.fromkeys(members, 0)
    placed: dict[str, str] = {}
    # The strongest claims first, so that a group moves only when its own best process changes or is full.
    claims = sorted(
        ((weight(member, group), member, group) for member in members for group in wanted[member] & groups),
        reverse=True,
    )
    for _, member, group in claims:
        if group not in placed and load[member] < cap:
            placed[group] = member
            load[member] += 1
    for group in sorted(groups - placed.keys()):
        # Everybody who wants it is full: liveness before balance.
        member = min((m for m in members if group in wanted[m]), key=lambda m: (load[m], m))
        placed[group] = member
        load[member] += 1
    return placed


def weight(member: str, group: str) -> int:
    """How strong the claim of a process to a group is: the same everywhere, and unlike for any other pair."""
    return int.from_bytes(hashlib.blake2b(f"{member}\0{group}".encode(), digest_size=8).digest(), "big")
