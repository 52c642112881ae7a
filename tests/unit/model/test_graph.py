"""The graph of statuses: what may follow what, where runs start and end."""

from enum import IntEnum

import pytest

from workflow._model.graph import GraphInfo, StatusGraph


def graph(*edges: tuple[int, int]) -> StatusGraph:
    made = StatusGraph()
    for origin, destination in edges:
        made.add(origin, destination)
    return made


def test_the_reference_case_of_info() -> None:
    """R-GRAPH-5."""
    info = graph((1, 2), (2, 3), (3, 4), (1, 5)).info()
    assert info == GraphInfo(((1, 2), (1, 5), (2, 3), (3, 4)), starting=(1,), terminal=(4, 5))


def test_duplicate_edges_are_kept_in_order_of_declaration() -> None:
    """R-GRAPH-1."""
    made = graph((9, 10), (9, 8), (9, 10))
    assert made.transitions(9) == (10, 8, 10)
    assert made.transitions(8) == ()
    assert made.transitions(77) == ()


@pytest.mark.parametrize(
    ("edges", "starting"),
    [
        (((1, 2),), (1,)),
        (((1, 1), (1, 2)), ()),
        (((1, 2), (2, 1)), ()),
        (((5, 6), (3, 6)), (5, 3)),
        (((1, 2), (3, 1), (4, 2)), (3, 4)),
    ],
)
def test_a_starting_status_is_never_a_destination(
    edges: tuple[tuple[int, int], ...], starting: tuple[int, ...]
) -> None:
    """R-GRAPH-2: a self-edge counts too."""
    assert graph(*edges).starting() == starting


def test_a_terminal_status_stops_being_one_with_its_first_outgoing_edge() -> None:
    """R-GRAPH-3."""
    made = graph((1, 2))
    assert made.is_terminal(2)
    assert made.terminal() == (2,)
    made.add(2, 3)
    assert not made.is_terminal(2)
    assert made.terminal() == (3,)


def test_unknown_and_starting_statuses_are_not_terminal() -> None:
    made = graph((1, 2))
    assert not made.is_terminal(1)
    assert not made.is_terminal(42)


def test_nodes_are_every_status_ascending() -> None:
    """R-GRAPH-4, R-GRAPH-5."""
    made = graph((9, 10), (10, 3))
    assert made.nodes() == (3, 9, 10)
    assert 3 in made
    assert 4 not in made


def test_only_declared_edges_are_allowed() -> None:
    """R-GRAPH-7."""
    made = graph((1, 2), (2, 3))
    assert made.allows(1, 2)
    assert not made.allows(1, 3)
    assert not made.allows(2, 1)
    assert not made.allows(3, 3)
    assert not made.allows(7, 8)


def test_reachability_follows_cycles_and_counts_staying() -> None:
    made = graph((1, 2), (2, 1), (2, 3), (4, 3))
    assert made.can_reach(1, 3)
    assert made.can_reach(2, 2)
    assert made.can_reach(3, 3)
    assert not made.can_reach(3, 1)
    assert not made.can_reach(1, 4)
    assert made.unreachable([1]) == (4,)
    assert made.unreachable([1, 4]) == ()
    assert made.unreachable([]) == (1, 2, 3, 4)


def test_reachability_is_not_stale_after_another_edge() -> None:
    made = graph((1, 2))
    assert not made.can_reach(1, 3)
    made.add(2, 3)
    assert made.can_reach(1, 3)


def test_enum_members_are_kept_as_plain_integers() -> None:
    class Status(IntEnum):
        A = 1
        B = 2

    made = graph((Status.A, Status.B))
    assert [type(node) for node in made.nodes()] == [int, int]
    assert made.allows(Status.A, Status.B)
    assert made.transitions(Status.A) == (2,)
    assert made.is_terminal(Status.B)
