"""Callbacks that wait for their run, and the ids of those that were taken.

A row is held until `taken_at` is set; by then `taken_by` names the run and the payload is gone. Retention removes the
row a day later.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import asyncpg

from workflow.protocols import HeldCallback, Page

from ..kit.cursor import decode_cursor, encode_cursor
from ..kit.text import is_text
from .access import Access
from .checks import check_held_callback
from .moments import aware
from .rows import columns
from .server import Row

__all__ = ["EXPIRED", "HELD", "HOLD", "LIST", "LIST_OF_FOREIGN_ID", "RELEASE", "HeldByForeignId"]

_COLUMNS = "seq, id, workflow_name, foreign_id, run_id, status, payload, created_at, expires_at, taken_by"

# A row of this id stays as it is. An update of nothing, because a plain look in the same statement would not see a row
# that another process has committed meanwhile.
HOLD = f"""
insert into {{schema}}.held_callbacks as h
    (id, workflow_name, foreign_id, run_id, status, payload, created_at, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (workflow_name, foreign_id, id) do update set id = h.id
returning {_COLUMNS}
"""  # noqa: S608 - constants

HELD = f"""
select {_COLUMNS} from (select distinct * from unnest($2::text[], $3::bigint[])) as w (key, wanted)
cross join lateral (
    select * from {{schema}}.held_callbacks
    where workflow_name = $1 and foreign_id = w.key and status = w.wanted and taken_at is null
    order by created_at, seq limit $4
) as h
order by created_at, seq limit $4
"""  # noqa: S608 - constants

LIST = f"""
select {_COLUMNS} from {{schema}}.held_callbacks
where workflow_name = $1 and taken_at is null and (created_at, seq) > ($2::timestamptz, $3::bigint)
order by created_at, seq limit $4
"""  # noqa: S608 - constants
LIST_OF_FOREIGN_ID = f"""
select {_COLUMNS} from {{schema}}.held_callbacks
where workflow_name = $1 and foreign_id = $5 and taken_at is null
    and (created_at, seq) > ($2::timestamptz, $3::bigint)
order by created_at, seq limit $4
"""  # noqa: S608 - constants

EXPIRED = f"""
select {_COLUMNS} from {{schema}}.held_callbacks
where workflow_name = $1 and taken_at is null and expires_at <= $2 order by expires_at, seq limit $3
"""  # noqa: S608 - constants

RELEASE = """
delete from {schema}.held_callbacks h using unnest($1::text[], $2::text[], $3::text[]) as w (name, key, callback)
where h.workflow_name = w.name and h.foreign_id = w.key and h.id = w.callback and h.taken_at is null
"""

_CURSOR = "postgres:held callbacks"
_BEFORE_ALL = datetime(1, 1, 1, tzinfo=UTC)
"""No callback was held before."""


def _callback(row: Row) -> HeldCallback:
    return HeldCallback(
        id=row[1],
        workflow_name=row[2],
        foreign_id=row[3],
        run_id=row[4],
        status=row[5],
        payload=row[6],
        created_at=row[7],
        expires_at=aware(row[8]),
        taken_by=row[9],
    )


class HeldByForeignId:
    """The held callbacks of the record store."""

    def __init__(self, access: Access, held: Callable[[str], None]) -> None:
        self._access, self._announce_held = access, held

    async def hold(self, callback: HeldCallback) -> HeldCallback:
        """Keep a callback unless its id is known; the callback of this id as it is now.

        Raises:
            ValueError: Postgres cannot hold one of the fields.
        """
        one = callback
        try:
            rows = await self._access.write(
                HOLD,
                *(one.id, one.workflow_name, one.foreign_id, one.run_id, one.status, one.payload),
                *(one.created_at, one.expires_at),
            )
        except (asyncpg.PostgresError, ValueError, OverflowError):
            check_held_callback(callback)  # names the field
            raise
        self._access.when_visible(lambda: self._announce_held(callback.workflow_name))
        return _callback(rows[0])

    async def held(
        self, workflow_name: str, wanted: Sequence[tuple[str, int]], *, limit: int
    ) -> Sequence[HeldCallback]:
        """Held callbacks for any of these pairs of foreign ID and status, oldest first."""
        pairs = [pair for pair in wanted if is_text(pair[0])]
        if not pairs:
            return []
        rows = await self._access.read(HELD, workflow_name, *columns(pairs, 2), limit)
        return [_callback(row) for row in rows]

    async def list_held(
        self, workflow_name: str, *, foreign_id: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[HeldCallback]:
        """One page of the held callbacks of a workflow, or of one foreign ID, oldest first."""
        at, seq = (_BEFORE_ALL, 0) if cursor is None else decode_cursor(_CURSOR, cursor, (datetime, int))
        if not is_text(workflow_name) or not is_text(foreign_id or ""):
            return Page()
        args = (workflow_name, at, seq, limit + 1)
        if foreign_id is None:
            rows = await self._access.read(LIST, *args)
        else:
            rows = await self._access.read(LIST_OF_FOREIGN_ID, *args, foreign_id)
        following = None
        if len(rows) > limit:
            last = rows[limit - 1]
            following = encode_cursor(_CURSOR, last[7], last[0])
        return Page((_callback(row) for row in rows[:limit]), following)

    async def list_expired(self, workflow_name: str, *, now: datetime, limit: int) -> Sequence[HeldCallback]:
        """Held callbacks that have expired, the earliest first."""
        return [_callback(row) for row in await self._access.read(EXPIRED, workflow_name, now, limit)]

    async def release(self, callbacks: Sequence[HeldCallback]) -> None:
        """Forget these held callbacks; those that were taken stay."""
        if callbacks:
            keys = sorted((one.workflow_name, one.foreign_id, one.id) for one in callbacks)
            await self._access.write(RELEASE, *columns(keys, 3))
