"""The rows behind roles: who lives, who wants what, who holds what until when. The server's clock judges them.

Owns the SQL of leases and memberships and the picture made of their rows; who should do what is decided elsewhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from .connections import Connection, Lane, Row
from .names import ROLES_LOCK, lock_key, quoted

__all__ = ["Held", "Leases", "Member", "Picture"]

# This process lives, wants these, and renews what it holds; then how everything stands.
_BEAT = """
with me as (
    insert into {schema}.members as m (process, roles, groups, joined_at, expires_at, lease_time)
    values ($1, $2, $3, clock_timestamp(), clock_timestamp() + $4, $4)
    on conflict (process) do update set roles = excluded.roles, groups = excluded.groups,
        joined_at = case when m.expires_at < clock_timestamp() then excluded.joined_at else m.joined_at end,
        expires_at = excluded.expires_at, lease_time = excluded.lease_time
    returning process
),
renewed as (
    update {schema}.leases set expires_at = clock_timestamp() + $4, lease_time = $4
    where holder = $1 and role = any($5::text[]) and expires_at > clock_timestamp()
    returning role, token
)
select 'renewed', role, token, null::text[], null::text[], null::double precision from renewed
"""

_PICTURE = """
select 'member', process, null::bigint, roles, groups, extract(epoch from clock_timestamp() - joined_at)::float8
from {schema}.members where expires_at > clock_timestamp() and expires_at <= clock_timestamp() + lease_time
union all
select 'lease', role, token, array[holder], null, extract(epoch from expires_at - clock_timestamp())::float8
from {schema}.leases
where holder <> '' and expires_at > clock_timestamp() and expires_at <= clock_timestamp() + lease_time
"""

_BEAT_AND_LOOK = f"{_BEAT} union all {_PICTURE}"

# Only what is free; `unclean` if the holder before let it run out.
_ACQUIRE = """
with wanted as (select unnest($2::text[]) as role),
before as (select l.role, l.holder from {schema}.leases l join wanted using (role)),
taken as (
    insert into {schema}.leases as l (role, holder, token, expires_at, lease_time)
    select role, $1, 1, clock_timestamp() + $3, $3 from wanted order by role
    on conflict (role) do update set holder = excluded.holder, token = l.token + 1,
        expires_at = excluded.expires_at, lease_time = excluded.lease_time
    where l.holder = '' or l.expires_at <= clock_timestamp() or l.expires_at > clock_timestamp() + l.lease_time
    returning role, token
)
select taken.role, taken.token, coalesce(before.holder <> '', false) from taken left join before using (role)
"""

# What is given up is free at once, and what is wanted no longer keeps nobody else from it.
_RELEASE = """
with me as (update {schema}.members set roles = $3, groups = $4 where process = $1)
update {schema}.leases set holder = '', expires_at = clock_timestamp()
from unnest($2::text[], $5::bigint[]) as w (freed, seen) where role = freed and token = seen and holder = $1
"""

_LEAVE = "delete from {schema}.members where process = $1 or expires_at < clock_timestamp() - interval '1 day'"


class Member(NamedTuple):
    """A live process: the group of each role it holds or waits for, and for how many seconds it has lived."""

    roles: Mapping[str, str]
    age: float


class Held(NamedTuple):
    """A lease that is held: by whom, with which token, and for how many seconds still."""

    holder: str
    token: int
    left: float


class Picture(NamedTuple):
    """How everything stands at one moment."""

    renewed: Mapping[str, int]
    members: Mapping[str, Member]
    leases: Mapping[str, Held]

    def knowing(self, process: str, roles: Mapping[str, str]) -> "Picture":
        """The same, with what this process has just said it wants."""
        age = self.members[process].age if process in self.members else 0.0
        return self._replace(members={**self.members, process: Member(roles, age)})


class Leases:
    """Runs the statements for one process."""

    def __init__(self, lane: Lane, schema: str, process: str, lease_time: timedelta) -> None:
        name = quoted(schema)
        self._lane, self._me, self._lease_time = lane, process, lease_time
        self._beat_sql, self._look_sql, self._acquire_sql, self._release_sql, self._leave_sql = (
            sql.replace("{schema}", name) for sql in (_BEAT_AND_LOOK, _PICTURE, _ACQUIRE, _RELEASE, _LEAVE)
        )
        self._lock = lock_key(schema, ROLES_LOCK)

    async def beat(self, wants: Mapping[str, str], held: Iterable[str]) -> Picture:
        """Say that this process lives, renew what it holds, and see how everything stands."""
        args = (self._me, list(wants), list(wants.values()), self._lease_time, list(held))
        return _picture(await self._lane.write(self._beat_sql, *args))

    async def lock(self, connection: Connection) -> None:
        """Let nobody else take roles until the transaction ends, so that groups are not split."""
        await connection.execute(f"select pg_advisory_xact_lock({self._lock})")

    async def look(self, connection: Connection) -> Picture:
        """How everything stands, within a transaction."""
        return _picture(await connection.fetch(self._look_sql))

    async def acquire(self, connection: Connection, roles: Sequence[str]) -> Sequence[Row]:
        """Take what is free of these roles: rows of role, token, unclean."""
        rows: Sequence[Row] = await connection.fetch(self._acquire_sql, self._me, list(roles), self._lease_time)
        return rows

    async def release(self, leases: Mapping[str, int], wants: Mapping[str, str]) -> None:
        """Free these roles, held with these tokens."""
        args = (self._me, list(leases), list(wants), list(wants.values()), list(leases.values()))
        await self._lane.write(self._release_sql, *args)

    async def leave(self) -> None:
        """This process lives no more."""
        await self._lane.write(self._leave_sql, self._me)


def _picture(rows: Sequence[Row]) -> Picture:
    renewed: dict[str, int] = {}
    members: dict[str, Member] = {}
    leases: dict[str, Held] = {}
    for kind, name, token, names, groups, seconds in rows:
        if kind == "renewed":
            renewed[name] = token
        elif kind == "member":
            members[name] = Member(dict(zip(names, groups, strict=True)), seconds)
        else:
            leases[name] = Held(names[0], token, seconds)
    return Picture(renewed, members, leases)
