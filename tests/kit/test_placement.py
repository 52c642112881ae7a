"""Which process should hold which role."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping

import pytest

from workflow_adapters.kit.placement import family_of, place

SHARDS = {f"orders {index}": f"orders/{index}-of-6" for index in range(1, 7)}


def wishes(processes: Iterable[str], roles: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    return dict.fromkeys(processes, roles)


def shares(placed: Mapping[str, str], roles: Iterable[str]) -> list[int]:
    return sorted(Counter(placed[role] for role in roles).values())


def test_three_processes_hold_two_of_six_shards_each() -> None:
    others = {"outbox": "", "sweep": "", "single": "orders/1-of-1"}
    placed = place(wishes("abc", {**SHARDS, **others}), {})
    assert shares(placed, SHARDS) == [2, 2, 2]


def test_the_answer_does_not_depend_on_the_order_of_processes() -> None:
    assert place(wishes("abcd", SHARDS), {}) == place(wishes("dcba", SHARDS), {})


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7])
def test_numbers_differ_by_at_most_one(count: int) -> None:
    placed = place(wishes([f"p{number}" for number in range(count)], SHARDS), {})
    assert placed.keys() == SHARDS.keys()
    held = Counter(placed.values())
    assert max(held.values()) - min(held.get(f"p{number}", 0) for number in range(count)) <= 1


def test_a_new_role_of_a_group_goes_to_the_release_that_declares_it() -> None:
    """With parallel_count 1 the whole group was placed on the old process, and the new role was never held."""
    old, new = {"step": "orders/1-of-1"}, {"step": "orders/1-of-1", "hook": "orders/1-of-1"}
    for holders in ({}, {"step": "old"}, {"step": "new"}, {"step": "old", "hook": "new"}):
        placed = place({"old": old, "new": new}, holders)
        assert placed["hook"] == "new", holders
        assert placed["step"] == holders.get("step", placed["step"]), "nothing moves"
    assert place({"new": new}, {"hook": "new"}) == {"step": "new", "hook": "new"}


def test_a_role_is_never_kept_from_the_only_process_that_wants_it() -> None:
    for seed in range(300):
        draw = random.Random(seed)
        roles = {f"r{number}": draw.choice(["", "one", "w/1-of-2", "w/2-of-2"]) for number in range(8)}
        processes = [f"p{number}" for number in range(draw.randint(1, 4))]
        wanted = {process: {role: roles[role] for role in roles if draw.random() < 0.6} for process in processes}
        holders = {role: draw.choice([*processes, "gone"]) for role in roles if draw.random() < 0.4}
        placed = place(wanted, holders)
        assert place(wanted, placed) == placed, "what is even stays"
        assert placed.keys() == {role for wants in wanted.values() for role in wants}
        assert all(role in wanted[process] for role, process in placed.items()), seed


def test_of_two_processes_that_want_the_same_the_one_that_has_it_holds_at_most_one_unit_more() -> None:
    """Also where the processes of a family want different units, as during a deploy."""
    for seed in range(300):
        draw = random.Random(seed)
        roles = {f"r{number}": f"w/{number}-of-9" for number in range(9)}
        processes = [f"p{number}" for number in range(draw.randint(2, 4))]
        wanted = {process: {role: roles[role] for role in roles if draw.random() < 0.7} for process in processes}
        holders = {role: draw.choice(processes) for role in roles if draw.random() < 0.5}
        placed = place(wanted, holders)
        able = {role: [process for process in processes if role in wanted[process]] for role in placed}
        held = Counter(process for role, process in placed.items() if len(able[role]) > 1)
        for role, process in placed.items():
            assert all(held[process] - held[other] <= 1 for other in able[role]) or len(able[role]) == 1, seed


def test_roles_of_one_group_that_the_same_processes_want_go_to_one_process() -> None:
    roles = {f"{part} {shard}": group for shard, group in SHARDS.items() for part in ("step", "hook", "timeouts")}
    placed = place(wishes("abcd", roles), {})
    for shard in SHARDS:
        assert len({placed[f"{part} {shard}"] for part in ("step", "hook", "timeouts")}) == 1


def test_a_unit_that_is_split_goes_to_the_process_that_holds_most_of_it() -> None:
    roles = dict.fromkeys(["one", "two", "three"], "group")
    placed = place(wishes("ab", roles), {"one": "a", "two": "b", "three": "b"})
    assert set(placed.values()) == {"b"}


def test_a_unit_stays_where_it_is_unless_a_process_has_too_few() -> None:
    holders = {role: "ab"[index % 2] for index, role in enumerate(SHARDS)}
    assert place(wishes("ab", SHARDS), holders) == holders
    moved = place(wishes("abc", SHARDS), holders)
    assert sum(moved[role] != holders[role] for role in SHARDS) == 2
    assert place(wishes("abc", SHARDS), moved) == moved


def test_a_single_role_stays_where_it_is() -> None:
    for holder in "abc":
        assert place(wishes("abc", {"role": ""}), {"role": holder}) == {"role": holder}


def test_a_process_that_leaves_moves_only_what_it_held() -> None:
    roles = {f"w {index}": f"w/{index}-of-32" for index in range(1, 33)}
    before = place(wishes("abcd", roles), {})
    after = place(wishes("abc", roles), before)
    assert {role for role in roles if before[role] != after[role]} == {role for role in roles if before[role] == "d"}


def test_families_are_spread_apart_from_each_other() -> None:
    """A process that holds a single shard of another workflow has no fewer of this one for it."""
    singles = {f"w{number}": f"w{number}/1-of-1" for number in range(12)}
    for holders in ({}, dict.fromkeys(singles, "a"), dict.fromkeys(SHARDS, "b")):
        assert shares(place(wishes("abc", {**SHARDS, **singles}), holders), SHARDS) == [2, 2, 2], holders
    fresh = place(wishes("abc", singles), {})
    assert set(fresh.values()) == set("abc"), "single shards of many workflows do not all go to one process"


def test_releases_that_disagree_about_a_group_come_to_the_same_answer() -> None:
    one, two = {"role": "first", "other": "first"}, {"role": "second", "other": "first"}
    assert place({"a": one, "b": two}, {}) == place({"b": two, "a": one}, {})


def test_shards_of_different_counts_are_different_families() -> None:
    assert family_of("orders/1-of-6") == family_of("orders/5-of-6")
    assert len({family_of("orders/1-of-6"), family_of("orders/1-of-1"), family_of("other/1-of-6"), family_of("x")}) == 4
    assert family_of("x") == family_of("")
