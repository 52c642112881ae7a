"""The rows behind roles: who lives, who wants what, and who holds what until when.

One heartbeat is one transaction: it announces the process, renews what it holds, takes what is free and its own, and
says what belongs elsewhere. The machine's clock judges: all processes of a file are on one machine. A row that claims
to last longer than its lease time is void (the clock was set back).
"""

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .._placement import place, surplus

BEATS_PER_LEASE = 3
ESTABLISHED = 2
"""Heartbeats for which a process must have lived before others hand roles to it."""

ROLES = "select role, holder, token, expires, lease from roles"
RENEW = "update roles set expires = ?, lease = ? where role = ? and holder = ?"
TAKE = """
insert into roles (role, holder, token, expires, lease) values (?, ?, ?, ?, ?)
on conflict do update set holder = excluded.holder, token = excluded.token, expires = excluded.expires,
    lease = excluded.lease
"""
ANNOUNCE = """
insert into members (member, joined, expires, lease, groups) values (?, ?, ?, ?, ?)
on conflict do update set expires = excluded.expires, lease = excluded.lease, groups = excluded.groups
"""
BURY = "delete from members where expires <= ?1 or expires > ?1 + lease"
MEMBERS = "select member, joined, groups from members"


class Asked(NamedTuple):
    """A role that this process holds or waits for; `patient` while it leaves a free one to who should have it."""

    role: str
    group: str
    held: bool
    patient: bool


@dataclass(slots=True)
class Beat:
    """What one heartbeat found out.

    Attributes:
        granted: roles taken: role, token, and whether the holder before let its lease run out.
        lost: roles that somebody else holds by now.
        give_up: roles that another process should have.
        free: roles that are free, left to who should have them.
        again: seconds after which a role that is waited for runs out, at the earliest.
    """

    granted: list[tuple[str, int, bool]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    give_up: list[str] = field(default_factory=list)
    free: set[str] = field(default_factory=set)
    again: float | None = None


class Leases:
    """The rows as one process writes them.

    Args:
        member: names the process.
        lease_time: seconds for which a heartbeat counts.
        clock: nanoseconds since 1970, the same in all processes.
    """

    def __init__(self, member: str, lease_time: float, clock: Callable[[], int] = time.time_ns) -> None:
        self._member, self._lease, self._clock = member, int(lease_time * 1e6), clock

    def beat(self, connection: sqlite3.Connection, asked: Sequence[Asked]) -> Beat:
        """One heartbeat."""
        now = self._clock() // 1000
        connection.execute(BURY, (now,))
        groups = json.dumps(sorted({one.group for one in asked}))
        connection.execute(ANNOUNCE, (self._member, now, now + self._lease, self._lease, groups))
        wanted, settled = self._members(connection, now)
        beat = self._look(connection, now, asked, place(wanted))
        # One group at a time, all its roles together.
        held = {one.group for one in asked if one.held and one.role not in beat.lost}
        leaving = surplus(self._member, held, settled)
        beat.give_up = [one.role for one in asked if one.held and one.group == leaving]
        return beat

    def _members(
        self, connection: sqlite3.Connection, now: int
    ) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
        """What each process wants: of all that live, and of those that have lived long enough."""
        wanted: dict[str, frozenset[str]] = {}
        settled: dict[str, frozenset[str]] = {}
        long_ago = now - self._lease * ESTABLISHED // BEATS_PER_LEASE
        for member, joined, groups in connection.execute(MEMBERS):
            wanted[member] = frozenset(json.loads(groups))
            if joined <= long_ago or member == self._member:
                settled[member] = wanted[member]
        return wanted, settled

    def _look(self, connection: sqlite3.Connection, now: int, asked: Sequence[Asked], placed: dict[str, str]) -> Beat:
        rows = {role: row for role, *row in connection.execute(ROLES)}
        beat = Beat()
        ends: list[int] = []
        for role, group, held, patient in asked:
            holder, token, expires, lease = rows.get(role, ("", 0, 0, 0))
            if held and holder == self._member:
                connection.execute(RENEW, (now + self._lease, self._lease, role, self._member))
            elif held:
                beat.lost.append(role)
            elif holder and holder != self._member and now < expires <= now + lease:
                ends.append(expires)
            elif patient and placed.get(group) != self._member:
                beat.free.add(role)
            else:
                connection.execute(TAKE, (role, self._member, token + 1, now + self._lease, self._lease))
                # A row of this very process is one that it could not free.
                beat.granted.append((role, token + 1, holder not in ("", self._member)))
        beat.again = (min(ends) - now) / 1e6 if ends else None
        return beat

    def free(self, connection: sqlite3.Connection, role: str, groups: Sequence[str]) -> None:
        """Give a role back, and say which groups are still wanted, so that nothing waits for who has left."""
        connection.execute(
            "update roles set holder = '', expires = 0 where role = ? and holder = ?", (role, self._member)
        )
        if groups:
            wanted = (json.dumps(groups), self._member)
            connection.execute("update members set groups = ? where member = ?", wanted)
        else:
            connection.execute("delete from members where member = ?", (self._member,))

    def leave(self, connection: sqlite3.Connection) -> None:
        """This process lives no more."""
        connection.execute("update roles set holder = '', expires = 0 where holder = ?", (self._member,))
        connection.execute("delete from members where member = ?", (self._member,))
