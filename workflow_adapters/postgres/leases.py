"""The rows behind roles: live processes, their wishes, and leases with their ends. The server's clock judges them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from workflow.protocols import Holding, Member, ProcessIdentity

from ..kit.leases import Beat, Choose, HeldRole, LeaseStore, LiveProcess, Picture, TakenRole
from .lane import Lane
from .names import ROLES_LOCK, lock_key, quoted
from .server import Connection, Row

__all__ = ["PostgresLeaseStore", "read_holdings", "read_members"]

# This process lives, wants these, and renews what it holds; then how everything stands.
_BEAT = """
with me as (
    insert into {schema}.members as m
        (process, roles, groups, joined_at, expires_at, lease_time, host, pid, release, started_at)
    values ($1, $2, $3, clock_timestamp(), clock_timestamp() + $4, $4, $6, $7, $8, $9)
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

_LIVE = "expires_at > clock_timestamp() and expires_at <= clock_timestamp() + lease_time"

_PICTURE = f"""
select 'process', process, null::bigint, roles, groups, extract(epoch from clock_timestamp() - joined_at)::float8
from {{schema}}.members where {_LIVE}
union all
select 'role', role, token, array[holder], null, extract(epoch from expires_at - clock_timestamp())::float8
from {{schema}}.leases where holder <> '' and {_LIVE}
"""  # noqa: S608 - constants

_BEAT_AND_LOOK = f"{_BEAT} union all {_PICTURE}"

# Only what no other process holds; `unclean` if another holder let it run out.
_TAKE = """
with wanted as (select unnest($2::text[]) as role),
before as (select l.role, l.holder from {schema}.leases l join wanted using (role)),
taken as (
    insert into {schema}.leases as l (role, holder, token, expires_at, lease_time)
    select role, $1, 1, clock_timestamp() + $3, $3 from wanted order by role
    on conflict (role) do update set holder = excluded.holder, token = l.token + 1,
        expires_at = excluded.expires_at, lease_time = excluded.lease_time
    where l.holder in ('', $1) or l.expires_at <= clock_timestamp() or l.expires_at > clock_timestamp() + l.lease_time
    returning role, token
)
select taken.role, taken.token, coalesce(before.holder not in ('', $1), false)
from taken left join before using (role)
"""

# What is given up is free at once, and wishes that were withdrawn stop counting.
_RELEASE = """
with me as (update {schema}.members set roles = $3, groups = $4 where process = $1)
update {schema}.leases set holder = '', expires_at = clock_timestamp()
from unnest($2::text[], $5::bigint[]) as w (freed, seen) where role = freed and token = seen and holder = $1
"""

_LEAVE = """
with freed as (update {schema}.leases set holder = '', expires_at = clock_timestamp() where holder = $1)
delete from {schema}.members where process = $1 or expires_at < clock_timestamp() - interval '1 day'
"""

_MEMBERS = f"""
select process, roles, host, pid, release, started_at, expires_at - lease_time, expires_at
from {{schema}}.members where {_LIVE}
"""  # noqa: S608 - constants

# A trigger keeps the last holder, because processes of an older release share the table.
_HOLDINGS = """
select role, case when holder = '' then last_holder else holder end, token, case when holder <> '' then expires_at end
from {schema}.leases where expires_at > clock_timestamp() - interval '1 day'
"""


class PostgresLeaseStore(LeaseStore):
    """The leases and the membership of one process."""

    def __init__(self, lane: Lane, schema: str, process: ProcessIdentity, lease_time: timedelta) -> None:
        name = quoted(schema)
        self._lane, self._process, self._me, self._lease_time = lane, process, process.id, lease_time
        self._beat_sql, self._look_sql, self._take_sql, self._release_sql, self._leave_sql = (
            sql.replace("{schema}", name) for sql in (_BEAT_AND_LOOK, _PICTURE, _TAKE, _RELEASE, _LEAVE)
        )
        self._lock_sql = f"select pg_advisory_xact_lock({lock_key(schema, ROLES_LOCK)})"

    async def beat(self, wants: Mapping[str, str], held: Mapping[str, int], choose: Choose) -> Beat:
        """One heartbeat; see the port."""
        me = self._process
        rows = await self._lane.write(
            self._beat_sql,
            *(self._me, list(wants), list(wants.values()), self._lease_time, list(held)),
            *(me.host, me.pid, me.release, me.started_at),
        )
        renewed = {name: token for kind, name, token, *_ in rows if kind == "renewed"}
        picture = _picture(rows)
        if not choose(picture):
            return Beat(renewed, picture, ())

        async def take(connection: Connection) -> tuple[Picture, Sequence[Row]]:
            # No other process takes roles until this transaction ends, so that units are not split.
            await connection.execute(self._lock_sql)
            picture = _picture(await connection.fetch(self._look_sql))
            roles = list(choose(picture))
            return picture, await connection.fetch(self._take_sql, self._me, roles, self._lease_time) if roles else ()

        picture, taken = await self._lane.transaction(take)
        return Beat(renewed, picture, [TakenRole(*row) for row in taken])

    async def release(self, leases: Mapping[str, int], wants: Mapping[str, str]) -> None:
        """Free these roles, held with these tokens."""
        args = (self._me, list(leases), list(wants), list(wants.values()), list(leases.values()))
        await self._lane.write(self._release_sql, *args)

    async def leave(self) -> None:
        """This process lives no more."""
        await self._lane.write(self._leave_sql, self._me)


def _picture(rows: Sequence[Row]) -> Picture:
    processes: dict[str, LiveProcess] = {}
    roles: dict[str, HeldRole] = {}
    for kind, name, token, names, groups, seconds in rows:
        if kind == "process":
            processes[name] = LiveProcess(dict(zip(names, groups, strict=True)), seconds)
        elif kind == "role":
            roles[name] = HeldRole(names[0], token, seconds)
    return Picture(processes, roles)


async def read_members(lane: Lane, schema: str) -> Sequence[Member]:
    """The live processes, by id."""
    rows = await lane.fetch(_MEMBERS.replace("{schema}", quoted(schema)))
    members = [
        Member(
            identity=ProcessIdentity(id=process, host=host, pid=pid, release=release, started_at=started_at),
            wanted=tuple(sorted(roles)),
            renewed_at=renewed_at,
            expires_at=expires_at,
        )
        for process, roles, host, pid, release, started_at, renewed_at, expires_at in rows
    ]
    return sorted(members, key=lambda member: member.identity.id)


async def read_holdings(lane: Lane, schema: str) -> Sequence[Holding]:
    """Every role that was held within the last day, by role."""
    rows = await lane.fetch(_HOLDINGS.replace("{schema}", quoted(schema)))
    holdings = [Holding(role=role, process=process, token=token, expires_at=end) for role, process, token, end in rows]
    return sorted(holdings, key=lambda holding: holding.role)
