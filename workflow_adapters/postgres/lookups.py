"""The present records of known runs, and the run of a foreign ID."""

from collections.abc import Mapping, Sequence

from workflow.errors import Unavailable
from workflow.protocols import Record

from ..kit.batch_loader import BatchLoader
from ..kit.sizes import AT_ONCE
from ..kit.text import is_text
from .access import Access
from .rows import RECORD_COLUMNS, columns, record

__all__ = ["LATEST", "LIVE", "LOOKUP", "Lookups"]

LOOKUP = f"select {RECORD_COLUMNS} from {{schema}}.runs where run_id = any($1::text[])"  # noqa: S608 - constants

# For each pair the live run, else the last created.
LATEST = f"""
select {RECORD_COLUMNS} from unnest($1::text[], $2::text[]) as w (name, key) cross join lateral (
    (select * from {{schema}}.runs
     where workflow_name = w.name and foreign_id = w.key and run_state in (1, 2, 3) limit 1)
    union all
    (select * from {{schema}}.runs where workflow_name = w.name and foreign_id = w.key order by seq desc limit 1)
    limit 1
) as r
"""  # noqa: S608 - constants

LIVE = f"""
select {RECORD_COLUMNS} from {{schema}}.runs
where (workflow_name, foreign_id) in (select * from unnest($1::text[], $2::text[])) and run_state in (1, 2, 3)
"""  # noqa: S608 - constants


_FIRST, _MOST = 64, 1000
"""Records that are asked for in one statement at first and at most; fewer if the objects are large."""


class Lookups:
    """Reads single records; questions that come at the same time are answered by one statement."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._records_by_id = BatchLoader(self._lookup)
        self._latest_by_key = BatchLoader(self._latest)
        self._at_once = _FIRST

    async def lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        """The present records of these runs."""
        wanted = [run_id for run_id in run_ids if is_text(run_id)]
        if len(wanted) == 1 and not self._access.in_transaction():
            found = await self._records_by_id.get(wanted[0])
            return {} if found is None else {found.run_id: found}
        return await self._lookup(wanted) if wanted else {}

    async def _lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        found: dict[str, Record] = {}
        asked = 0
        while asked < len(run_ids):
            some = run_ids[asked : asked + self._at_once]
            try:
                rows = await self._access.read(LOOKUP, some)
            except Unavailable:
                # Perhaps it was too much for the time limit: ask for less the next time.
                self._at_once = max(1, len(some) // 2)
                raise
            self._adapt(len(some), sum(len(row[5]) for row in rows))
            found.update((row[2], record(row)) for row in rows)
            asked += len(some)
        return found

    def _adapt(self, asked: int, size: int) -> None:
        """Have the next reading bring about `AT_ONCE` bytes of objects, going by this one."""
        if size > AT_ONCE:
            self._at_once = max(1, asked * AT_ONCE // size)
        elif asked >= self._at_once and size * 2 <= AT_ONCE:
            self._at_once = min(_MOST, self._at_once * 2)

    async def latest(self, workflow_name: str, foreign_id: str) -> Record | None:
        """The live run of the foreign ID, else the one that was numbered last."""
        key = (workflow_name, foreign_id)
        if not is_text(workflow_name) or not is_text(foreign_id):
            return None
        if self._access.in_transaction():
            return (await self._latest([key])).get(key)
        return await self._latest_by_key.get(key)

    async def _latest(self, keys: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Record]:
        rows = await self._access.read(LATEST, *columns(keys, 2))
        return {(row[0], row[1]): record(row) for row in rows}

    async def live(self, wanted: Sequence[Record]) -> Mapping[tuple[str, str], Record]:
        """The live runs that hold the foreign IDs of these records."""
        if not wanted:
            return {}
        names, foreign_ids = [one.workflow_name for one in wanted], [one.foreign_id for one in wanted]
        rows = await self._access.read(LIVE, names, foreign_ids)
        return {(row[0], row[1]): record(row) for row in rows}
