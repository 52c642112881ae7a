"""Questions about the history of one run."""

from collections.abc import Mapping, Sequence

from workflow.protocols import Version

from ..kit.batch_loader import BatchLoader
from ..kit.text import is_text
from .access import Access
from .rows import VERSION_COLUMNS, columns, version

__all__ = ["ATTEMPTS", "FIND_ATTEMPT", "FIRST_VERSION_AT", "HISTORY", "Histories"]

HISTORY = f"""
select {VERSION_COLUMNS} from {{schema}}.history h join {{schema}}.runs r using (run_id)
where h.run_id = $1 and h.version > $2 order by h.version limit $3
"""  # noqa: S608 - constants

FIRST_VERSION_AT = """
select w.run_id, w.status, w.since, (
    select h.version from {schema}.history h
    where h.run_id = w.run_id and h.version >= w.since and h.status = w.status order by h.version limit 1
) from unnest($1::text[], $2::bigint[], $3::integer[]) as w (run_id, status, since)
"""

FIND_ATTEMPT = "select min(version) from {schema}.history where run_id = $1 and attempt_id = $2"

ATTEMPTS = """
select h.run_id, h.version, h.attempt_id from unnest($1::text[], $2::integer[]) as w (run_id, version)
join {schema}.history h on h.run_id = w.run_id and h.version = w.version
"""


class Histories:
    """Reads histories."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._first_versions = BatchLoader(self._first_versions_at)

    async def history(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Version]:
        """The committed versions above `after`, oldest first, at most `limit`."""
        if not is_text(run_id):
            return []
        return [version(row) for row in await self._access.read(HISTORY, run_id, after, limit)]

    async def first_version_at(self, run_id: str, status: int, *, since: int = 1) -> int | None:
        """The first version from `since` on that has this status."""
        key = (run_id, status, since)
        if not is_text(run_id):
            return None
        if self._access.in_transaction():
            return (await self._first_versions_at([key])).get(key)
        return await self._first_versions.get(key)

    async def _first_versions_at(self, keys: Sequence[tuple[str, int, int]]) -> Mapping[tuple[str, int, int], int]:
        rows = await self._access.read(FIRST_VERSION_AT, *columns(keys, 3))
        return {(row[0], row[1], row[2]): row[3] for row in rows if row[3] is not None}

    async def find_attempt(self, run_id: str, attempt_id: str) -> int | None:
        """The version that this attempt wrote."""
        if not is_text(run_id) or not is_text(attempt_id):
            return None
        found: int | None = (await self._access.read(FIND_ATTEMPT, run_id, attempt_id))[0][0]
        return found

    async def attempts(self, versions: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], str]:
        """The attempt that wrote each of these versions, if they exist."""
        if not versions:
            return {}
        rows = await self._access.read(ATTEMPTS, *columns(versions, 2))
        return {(row[0], row[1]): row[2] for row in rows}
