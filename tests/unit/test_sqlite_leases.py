"""The lease rows of SQLite, judged by a clock that the test moves."""

import sqlite3
from collections.abc import Iterator

import pytest

from workflow_adapters.sqlite.leases import Asked, Beat, Leases
from workflow_adapters.sqlite.schema import DDL

LEASE = 9.0
BEAT = 3.0


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> int:
        return int(self.seconds * 1e9)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(DDL)
    yield connection
    connection.close()


class Member:
    """A process with nothing but its rows."""

    def __init__(self, name: str, connection: sqlite3.Connection, clock: Clock, lease: float = LEASE) -> None:
        self._rows, self._connection = Leases(name, lease, clock), connection
        self.held: set[str] = set()

    def beat(self, *roles: str, patient: bool = True) -> Beat:
        asked = [Asked(role, role.partition(":")[0], role in self.held, patient) for role in roles]
        beat = self._rows.beat(self._connection, asked)
        self.held.update(role for role, _, _ in beat.granted)
        self.held.difference_update(beat.lost)
        return beat

    def free(self, role: str, *still: str) -> None:
        self.held.discard(role)
        self._rows.free(self._connection, role, still)


SHARDS = [f"orders/{index}-of-4" for index in range(1, 5)]


def test_a_lease_ends_after_its_own_length_whatever_the_other_process_is_set_to(connection: sqlite3.Connection) -> None:
    clock = Clock()
    patient, hasty = Member("a", connection, clock, lease=30), Member("b", connection, clock, lease=3)
    assert patient.beat("role").granted == [("role", 1, False)]
    clock.seconds += 29
    assert hasty.beat("role", patient=False).granted == []
    clock.seconds += 2
    assert hasty.beat("role", patient=False).granted == [("role", 2, True)], "unclean: the holder let it run out"


def test_a_lease_that_claims_to_last_longer_than_the_lease_time_is_void(connection: sqlite3.Connection) -> None:
    """Reliability: a clock that was set back must not freeze a role."""
    clock = Clock()
    before, after = Member("a", connection, clock), Member("b", connection, clock)
    before.beat("role")
    clock.seconds -= 500
    assert [role for role, _, _ in after.beat("role").granted] == ["role"]
    assert before.beat("role").lost == ["role"]


def test_how_long_until_an_awaited_role_runs_out(connection: sqlite3.Connection) -> None:
    clock = Clock()
    holder, waiting = Member("a", connection, clock), Member("b", connection, clock)
    holder.beat("role")
    clock.seconds += 2
    assert waiting.beat("role").again == pytest.approx(LEASE - 2)


def test_a_role_that_could_not_be_freed_is_taken_again_by_its_process_and_is_clean(
    connection: sqlite3.Connection,
) -> None:
    clock = Clock()
    member = Member("a", connection, clock)
    member.beat("role")
    member.held.clear()  # released here, but the row could not be written
    clock.seconds += 1
    assert member.beat("role").granted == [("role", 2, False)]


def test_a_new_process_is_handed_nothing_before_its_second_heartbeat(connection: sqlite3.Connection) -> None:
    """Design: a new member takes over only after two heartbeats, one shard at a time."""
    clock = Clock()
    old, new = Member("a", connection, clock), Member("b", connection, clock)
    assert len(old.beat(*SHARDS).granted) == 4
    new.beat(*SHARDS)
    assert old.beat(*SHARDS).give_up == []
    clock.seconds += BEAT
    new.beat(*SHARDS)
    assert old.beat(*SHARDS).give_up == []
    clock.seconds += BEAT
    new.beat(*SHARDS)
    assert len(old.beat(*SHARDS).give_up) == 1


def test_all_roles_of_a_group_are_given_up_together(connection: sqlite3.Connection) -> None:
    clock = Clock()
    roles = [f"{shard}:{part}" for shard in SHARDS for part in ("step", "hook")]
    old, new = Member("a", connection, clock), Member("b", connection, clock)
    old.beat(*roles)
    for _ in range(3):
        new.beat(*roles)
        draining = old.beat(*roles).give_up
        clock.seconds += BEAT
    assert len(draining) == 2
    assert draining[0].partition(":")[0] == draining[1].partition(":")[0]


def test_two_processes_end_with_half_of_the_shards_each(connection: sqlite3.Connection) -> None:
    clock = Clock()
    old, new = Member("a", connection, clock), Member("b", connection, clock)
    old.beat(*SHARDS)
    for _ in range(12):
        new.beat(*SHARDS)
        for role in old.beat(*SHARDS).give_up:
            old.free(role, *SHARDS)
        clock.seconds += BEAT / 2
    assert (len(old.held), len(new.held)) == (2, 2)
    assert old.held | new.held == set(SHARDS)


def test_who_is_not_meant_to_have_a_free_role_takes_it_once_its_patience_is_over(
    connection: sqlite3.Connection,
) -> None:
    """Liveness first: the proper process may be stuck."""
    clock = Clock()
    stuck, other = Member("a", connection, clock), Member("b", connection, clock)
    stuck.beat(*SHARDS)
    for role in SHARDS:
        stuck.free(role, *SHARDS)
    left = other.beat(*SHARDS).free
    assert len(left) == 2, "left to the process that should have them"
    assert len(other.beat(*SHARDS, patient=False).granted) == 2


def test_a_process_that_wants_nothing_any_more_is_forgotten(connection: sqlite3.Connection) -> None:
    clock = Clock()
    draining, staying = Member("a", connection, clock), Member("b", connection, clock)
    draining.beat(*SHARDS)
    for number, role in enumerate(SHARDS):
        draining.free(role, *SHARDS[number + 1 :])
    assert len(staying.beat(*SHARDS).granted) == 4
