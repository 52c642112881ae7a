"""The rows behind roles: live processes, their wishes, and leases with their ends.

One heartbeat is one transaction. The machine's clock judges: all processes of a file are on one machine.

A member row of the first release says which groups its process wants, not which roles. It counts as wanting the roles
of its groups that it holds, so that no role is kept for a process that may not know it.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import msgspec

from workflow.protocols import Holding, Member, ProcessIdentity

from ..kit.leases import Beat, Choose, HeldRole, LiveProcess, Picture, TakenRole, is_valid
from .rows import moment

__all__ = ["LeaseRows"]

_ROLES = "select role, holder, token, expires, lease from roles"
_RENEW = "update roles set expires = ?, lease = ? where role = ?"
_TAKE = """
insert into roles (role, holder, token, expires, lease) values (?, ?, ?, ?, ?)
on conflict do update set holder = excluded.holder, token = excluded.token, expires = excluded.expires,
    lease = excluded.lease
"""
_ANNOUNCE = """
insert into members (member, joined, expires, lease, groups, roles, identity) values (?, ?, ?, ?, ?, ?, ?)
on conflict do update set expires = excluded.expires, lease = excluded.lease, groups = excluded.groups,
    roles = excluded.roles
"""
_FORGET_DEAD = "delete from members where expires <= ? or expires > ? + lease"
_MEMBERS = "select member, joined, expires, lease, groups, roles, identity from members order by member"
_FREE = "update roles set holder = '', expires = ? where role = ? and holder = ? and token = ?"
_FREE_ALL = "update roles set holder = '', expires = ? where holder = ?"
_WITHDRAW = "update members set groups = ?, roles = ? where member = ?"
_LEAVE = "delete from members where member = ?"
# The first release writes 0 when it releases a role.
_HOLDINGS = "select role, holder, last_holder, token, expires from roles where expires > ? or expires = 0 order by role"

_DAY = timedelta(days=1) // timedelta(microseconds=1)

_encode_identity = msgspec.json.Encoder().encode
_decode_identity = msgspec.json.Decoder(ProcessIdentity).decode


class LeaseRows:
    """The rows as one process writes them, within transactions of its caller.

    Args:
        process: this process.
        lease_time: seconds for which a heartbeat counts.
        clock: nanoseconds since 1970, the same in all processes.
    """

    def __init__(self, process: ProcessIdentity, lease_time: float, clock: Callable[[], int] = time.time_ns) -> None:
        self._process, self._me = process, process.id
        self._lease, self._clock = int(lease_time * 1e6), clock

    def beat(
        self, connection: sqlite3.Connection, wants: Mapping[str, str], held: Mapping[str, int], choose: Choose
    ) -> Beat:
        """One heartbeat; see `LeaseStore.beat`."""
        now = self._now()
        connection.execute(_FORGET_DEAD, (now, now))
        identity = _encode_identity(self._process).decode()
        connection.execute(_ANNOUNCE, (self._me, now, now + self._lease, self._lease, *_wishes(wants), identity))
        rows = {role: row for role, *row in connection.execute(_ROLES).fetchall()}
        renewed = {role: token for role, token in held.items() if role in rows and rows[role][:2] == [self._me, token]}
        connection.executemany(_RENEW, [(now + self._lease, self._lease, role) for role in renewed])
        for role in renewed:
            rows[role][2:] = [now + self._lease, self._lease]
        picture = _picture(connection, rows, now)
        taken = [self._take(connection, role, rows.get(role), now) for role in choose(picture)]
        return Beat(renewed, picture, taken)

    def _take(self, connection: sqlite3.Connection, role: str, row: Sequence[object] | None, now: int) -> TakenRole:
        holder, token = (row[0], row[1]) if row is not None else ("", 0)
        assert isinstance(token, int), "the column is an integer"
        connection.execute(_TAKE, (role, self._me, token + 1, now + self._lease, self._lease))
        return TakenRole(role, token + 1, unclean=holder not in ("", self._me))

    def release(self, connection: sqlite3.Connection, leases: Mapping[str, int], wants: Mapping[str, str]) -> None:
        """Free these roles, held with these tokens, and say what is still wanted."""
        now = self._now()
        connection.executemany(_FREE, [(now, role, self._me, token) for role, token in leases.items()])
        connection.execute(_WITHDRAW, (*_wishes(wants), self._me))

    def leave(self, connection: sqlite3.Connection) -> None:
        """This process lives no more."""
        connection.execute(_FREE_ALL, (self._now(), self._me))
        connection.execute(_LEAVE, (self._me,))

    def members(self, connection: sqlite3.Connection) -> Sequence[Member]:
        """The live processes, by id."""
        now = self._now()
        rows = {role: row for role, *row in connection.execute(_ROLES).fetchall()}
        live = _picture(connection, rows, now).processes
        return [
            Member(
                identity=_decode_identity(identity) if identity else ProcessIdentity(id=process),
                wanted=tuple(sorted(live[process].roles)),
                renewed_at=moment(expires - lease),
                expires_at=moment(expires),
            )
            for process, _, expires, lease, _, _, identity in connection.execute(_MEMBERS).fetchall()
            if process in live
        ]

    def holdings(self, connection: sqlite3.Connection) -> Sequence[Holding]:
        """Every role that was held within the last day, by role."""
        return [
            Holding(role=role, process=holder or last, token=token, expires_at=moment(expires) if holder else None)
            for role, holder, last, token, expires in connection.execute(_HOLDINGS, (self._now() - _DAY,)).fetchall()
        ]

    def _now(self) -> int:
        return self._clock() // 1000


def _wishes(wants: Mapping[str, str]) -> tuple[str, str]:
    """The columns `groups`, which the first release reads, and `roles`. There a role without a group is its own."""
    groups = sorted({group or role for role, group in wants.items()})
    return json.dumps(groups), json.dumps(dict(wants))


def _picture(connection: sqlite3.Connection, rows: Mapping[str, Sequence[object]], now: int) -> Picture:
    held: dict[str, HeldRole] = {}
    for role, (holder, token, expires, lease) in rows.items():
        assert isinstance(holder, str) and isinstance(token, int), "the columns have these types"  # noqa: PT018
        assert isinstance(expires, int) and isinstance(lease, int), "the columns have these types"  # noqa: PT018
        if holder and is_valid(expires - now, lease):
            held[role] = HeldRole(holder, token, (expires - now) / 1e6)
    members = [row for row in connection.execute(_MEMBERS).fetchall() if is_valid(row[2] - now, row[3])]
    wants: dict[str, Mapping[str, str]] = {row[0]: json.loads(row[5]) for row in members if row[6]}
    groups = {role: group for roles in wants.values() for role, group in roles.items()}
    for process, *_, identity in members:
        if not identity:
            wants[process] = {role: groups.get(role, "") for role, lease in held.items() if lease.holder == process}
    return Picture({row[0]: LiveProcess(wants[row[0]], (now - row[1]) / 1e6) for row in members}, held)
