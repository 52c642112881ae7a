"""Which process should have which group of roles: a pure function of who lives, who wants what, and who holds what.

Every process computes it from the same rows. Within a family (the shards of one workflow) and among processes that want
the same groups the numbers differ by at most one; whoever holds a group keeps it unless somebody else has too few; what
is free goes to the process with the highest rendezvous weight that has room, so that a run meets the process it was
with before. Unlike `place`, which does without knowing who holds what, it leaves no process idle while another has two.
"""

from collections.abc import Iterable, Mapping

from .._placement import family_of, weight

__all__ = ["placed"]


def placed(wanted: Mapping[str, Iterable[str]], held: Mapping[str, str]) -> dict[str, str]:
    """The process that should have each group.

    Args:
        wanted: for each live process, the groups it holds or waits for.
        held: for each group that is held now, its holder.
    """
    candidates: dict[str, set[str]] = {}
    for process, groups in wanted.items():
        for group in groups:
            candidates.setdefault(group, set()).add(process)
    families: dict[tuple[str, frozenset[str]], list[str]] = {}
    for group, processes in candidates.items():
        families.setdefault((family_of(group), frozenset(processes)), []).append(group)
    result: dict[str, str] = {}
    for (family, able), groups in families.items():
        result.update(_spread(family, sorted(able), sorted(groups), held))
    return result


def _spread(family: str, processes: list[str], groups: list[str], held: Mapping[str, str]) -> dict[str, str]:
    """Spread groups of one family that the same processes want."""
    holding: dict[str, list[str]] = {process: [] for process in processes}
    for group in groups:
        if held.get(group) in holding:
            holding[held[group]].append(group)
    share, extra = divmod(len(groups), len(processes))
    # Those who hold most are the ones allowed one more, so that nothing moves without need; else it depends on the
    # family, so that no process is the one with more in every family.
    ranked = sorted(processes, key=lambda process: (-len(holding[process]), -weight(process, family), process))
    room = {process: share + (place < extra) for place, process in enumerate(ranked)}
    result: dict[str, str] = {}
    for process in processes:
        kept = sorted(holding[process], key=lambda group: (-weight(process, group), group))[: room[process]]
        result.update(dict.fromkeys(kept, process))
        room[process] -= len(kept)
    for group in groups:
        if group not in result:
            open_to = [process for process in processes if room[process] > 0]
            result[group] = max(open_to, key=lambda process: (weight(process, group), process))
            room[result[group]] -= 1
    return result
