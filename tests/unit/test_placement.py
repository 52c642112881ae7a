"""Which process should have which group of roles."""

import pytest

from workflow_adapters._placement import family_of, place, surplus

SHARDS = {f"orders/{index}-of-6" for index in range(1, 7)}


def shares(placed: dict[str, str], groups: set[str]) -> list[int]:
    held: dict[str, int] = {}
    for group in groups:
        held[placed[group]] = held.get(placed[group], 0) + 1
    return sorted(held.values())


def test_three_processes_hold_two_of_six_shards_each() -> None:
    others = {"outbox", "sweep", "orders/1-of-1"}
    placed = place(dict.fromkeys(("a", "b", "c"), SHARDS | others))
    assert shares(placed, SHARDS) == [2, 2, 2]


def test_the_answer_does_not_depend_on_the_order_of_members() -> None:
    members = ["m1", "m2", "m3", "m4"]
    assert place(dict.fromkeys(members, SHARDS)) == place(dict.fromkeys(reversed(members), SHARDS))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7])
def test_nobody_holds_more_than_its_share(count: int) -> None:
    placed = place(dict.fromkeys([f"m{number}" for number in range(count)], SHARDS))
    assert placed.keys() == SHARDS
    assert max(shares(placed, SHARDS)) <= -(-6 // count)


def test_a_leaving_process_moves_only_what_it_held_and_what_the_cap_demands() -> None:
    groups = {f"wf/{index}-of-32" for index in range(1, 33)}
    before = place(dict.fromkeys(["m0", "m1", "m2", "m3"], groups))
    after = place(dict.fromkeys(["m0", "m1", "m2"], groups))
    moved = {group for group in groups if before[group] != after[group]}
    assert {group for group in groups if before[group] == "m3"} <= moved
    assert len(moved) <= 16


def test_a_group_goes_only_to_who_wants_it() -> None:
    placed = place({"a": {"orders/1-of-2"}, "b": {"orders/2-of-2", "lonely"}})
    assert placed == {"orders/1-of-2": "a", "orders/2-of-2": "b", "lonely": "b"}


def test_shards_of_different_counts_are_different_families() -> None:
    assert family_of("orders/1-of-6") == family_of("orders/5-of-6")
    assert len({family_of("orders/1-of-6"), family_of("orders/1-of-1"), family_of("other/1-of-6"), family_of("x")}) == 4


def test_who_has_no_more_than_its_share_hands_nothing_over() -> None:
    wanted = dict.fromkeys(("a", "b"), SHARDS)
    for member in wanted:
        mine = set(sorted(SHARDS)[:3])
        assert surplus(member, mine, wanted) is None


def test_who_has_more_hands_over_what_belongs_elsewhere_until_it_has_its_share() -> None:
    wanted = dict.fromkeys(("a", "b", "c"), SHARDS)
    held = set(SHARDS)
    while (group := surplus("a", held, wanted)) is not None:
        assert place(wanted)[group] != "a"
        held.discard(group)
    assert len(held) == 2


def test_a_single_role_stays_where_it_is() -> None:
    assert all(surplus(member, {"role"}, {"a": {"role"}, "b": {"role"}}) is None for member in ("a", "b"))
