"""The lease rows of SQLite, judged by a clock that the test moves."""

import json
import sqlite3
from collections.abc import Iterator

import pytest

from tests.kit.fleet import tables
from workflow.protocols import ProcessIdentity
from workflow_adapters.kit.leases import Beat, Picture, TakenRole
from workflow_adapters.sqlite.leases import LeaseRows

LEASE = 9.0


class Clock:
    def __init__(self) -> None:
        self.seconds = 100_000.0

    def __call__(self) -> int:
        return int(self.seconds * 1e9)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = tables()
    yield connection
    connection.close()


class Process:
    """A process with nothing but its rows. It takes every free role that it wants."""

    def __init__(self, name: str, connection: sqlite3.Connection, clock: Clock, lease: float = LEASE) -> None:
        self.name = name
        self.rows, self.connection = LeaseRows(ProcessIdentity(id=name, release=f"of {name}"), lease, clock), connection
        self.held: dict[str, int] = {}

    def beat(self, *roles: str, group: str = "") -> Beat:
        def choose(picture: Picture) -> list[str]:
            return [r for r in roles if r not in self.held and picture.roles.get(r, (self.name,))[0] == self.name]

        beat = self.rows.beat(self.connection, dict.fromkeys(roles, group), self.held, choose)
        self.held = {**beat.renewed, **{taken.role: taken.token for taken in beat.taken}}
        return beat

    def release(self, role: str, *still: str) -> None:
        self.rows.release(self.connection, {role: self.held.pop(role)}, dict.fromkeys(still, ""))


def test_a_lease_ends_after_its_own_length_whatever_the_other_process_is_set_to(
    connection: sqlite3.Connection, clock: Clock
) -> None:
    slow, hasty = Process("a", connection, clock, lease=30), Process("b", connection, clock, lease=3)
    assert slow.beat("role").taken == [TakenRole("role", 1, unclean=False)]
    clock.seconds += 29
    assert hasty.beat("role").taken == []
    clock.seconds += 2
    assert hasty.beat("role").taken == [TakenRole("role", 2, unclean=True)], "the holder let it run out"


def test_a_lease_that_claims_to_last_longer_than_the_lease_time_is_void(
    connection: sqlite3.Connection, clock: Clock
) -> None:
    """Reliability: a clock that was set back must not freeze a role."""
    before, after = Process("a", connection, clock), Process("b", connection, clock)
    before.beat("role")
    clock.seconds -= 500
    assert [taken.role for taken in after.beat("role").taken] == ["role"]
    assert before.beat("role").renewed == {}, "it is told that it lost the role"


def test_how_long_until_a_role_runs_out(connection: sqlite3.Connection, clock: Clock) -> None:
    holder, waiting = Process("a", connection, clock), Process("b", connection, clock)
    holder.beat("role")
    clock.seconds += 2
    assert waiting.beat("role").picture.roles["role"].left == pytest.approx(LEASE - 2)


def test_a_role_that_could_not_be_freed_is_taken_again_by_its_process_and_is_clean(
    connection: sqlite3.Connection, clock: Clock
) -> None:
    process = Process("a", connection, clock)
    process.beat("role")
    process.held.clear()  # released here, but the row could not be written
    clock.seconds += 1
    assert process.beat("role").taken == [TakenRole("role", 2, unclean=False)]


def test_a_released_role_is_free_and_clean_and_its_last_holder_is_known(
    connection: sqlite3.Connection, clock: Clock
) -> None:
    one, two = Process("a", connection, clock), Process("b", connection, clock)
    one.beat("kept", "role")
    one.release("role", "kept")
    (kept, role) = one.rows.holdings(connection)
    assert (kept.role, kept.process, kept.token) == ("kept", "a", 1)
    assert kept.expires_at is not None
    assert (role.role, role.process, role.token, role.expires_at) == ("role", "a", 1, None)
    assert two.beat("role").taken == [TakenRole("role", 2, unclean=False)]
    clock.seconds += 100_000
    assert one.rows.holdings(connection) == [], "after a day without a holder it is left out"


def test_a_release_with_an_older_token_frees_nothing(connection: sqlite3.Connection, clock: Clock) -> None:
    process = Process("a", connection, clock)
    process.beat("role")
    process.rows.release(connection, {"role": 0}, {"role": ""})
    assert process.beat("role").renewed == {"role": 1}


def test_members_say_who_they_are_and_what_they_want(connection: sqlite3.Connection, clock: Clock) -> None:
    one, two = Process("a", connection, clock), Process("b", connection, clock)
    one.beat("x", "y")
    clock.seconds += 4
    two.beat("x")
    first, second = one.rows.members(connection)
    assert (first.identity.id, first.identity.release, first.wanted) == ("a", "of a", ("x", "y"))
    assert (first.expires_at - first.renewed_at).total_seconds() == LEASE
    assert second.wanted == ("x",)
    clock.seconds += 6
    assert [member.identity.id for member in two.rows.members(connection)] == ["b"], "a is gone without a heartbeat"
    two.rows.leave(connection)
    assert two.rows.members(connection) == []


def _first_release_beat(connection: sqlite3.Connection, clock: Clock, *held: str, groups: list[str]) -> None:
    """As the first release writes it."""
    now = clock() // 1000
    lease = int(LEASE * 1e6)
    connection.execute(
        "insert into members (member, joined, expires, lease, groups) values ('old', ?, ?, ?, ?)"
        " on conflict do update set expires = excluded.expires",
        (now, now + lease, lease, json.dumps(groups)),
    )
    for role in held:
        connection.execute(
            "insert into roles (role, holder, token, expires, lease) values (?, 'old', 1, ?, ?)"
            " on conflict do update set holder = excluded.holder, expires = excluded.expires",
            (role, now + lease, lease),
        )


def test_a_process_of_the_first_release_counts_as_wanting_the_roles_that_it_holds(
    connection: sqlite3.Connection, clock: Clock
) -> None:
    _first_release_beat(connection, clock, "step", groups=["orders/1-of-1"])
    new = Process("new", connection, clock)
    picture = new.beat("step", "hook", group="orders/1-of-1").picture
    assert picture.processes["old"].roles == {"step": "orders/1-of-1"}
    old, _ = sorted(new.rows.members(connection), key=lambda member: member.identity.id != "old")
    assert (old.identity, old.wanted) == (ProcessIdentity(id="old"), ("step",))


def test_a_process_of_the_first_release_finds_the_groups_it_looks_for(
    connection: sqlite3.Connection, clock: Clock
) -> None:
    new = Process("new", connection, clock)
    new.beat("step", "hook", group="orders/1-of-1")
    (groups,) = connection.execute("select groups from members").fetchone()
    assert json.loads(groups) == ["orders/1-of-1"]
    new.beat("alone")
    assert json.loads(connection.execute("select groups from members").fetchone()[0]) == ["alone"]


def test_the_last_holder_of_a_role_that_the_first_release_released_is_known(
    connection: sqlite3.Connection, clock: Clock
) -> None:
    _first_release_beat(connection, clock, "step", groups=["step"])
    connection.execute("update roles set holder = '', expires = 0 where holder = 'old'")
    (holding,) = Process("new", connection, clock).rows.holdings(connection)
    assert (holding.process, holding.expires_at) == ("old", None)
