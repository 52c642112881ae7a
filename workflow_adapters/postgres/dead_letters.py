"""The dead letters of all workflows, numbered as they came."""

from collections.abc import Sequence

import asyncpg

from workflow.protocols import DeadLetter, DeadLetterQuery, Page

from ..kit.cursor import decode_cursor, encode_cursor
from ..kit.text import is_text
from .access import Access
from .checks import check_letter
from .rows import columns
from .server import Row

__all__ = ["ADD", "LIST", "LIST_OF_RUN", "LOOKUP", "REMOVE", "KeptDeadLetters"]

_COLUMNS = "id, workflow_name, source, run_id, data, reason, created_at"

ADD = """
insert into {schema}.dead_letters (workflow_name, source, run_id, data, reason, created_at)
select workflow_name, source, run_id, data, reason, created_at
from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::timestamptz[]) with ordinality
    as w (workflow_name, source, run_id, data, reason, created_at, place)
order by place
"""
LIST = f"""
select {_COLUMNS} from {{schema}}.dead_letters where workflow_name = $1 and id > $2 order by id limit $3
"""  # noqa: S608 - constants
LIST_OF_RUN = f"""
select {_COLUMNS} from {{schema}}.dead_letters where workflow_name = $1 and id > $2 and run_id = $4 order by id limit $3
"""  # noqa: S608 - constants
LOOKUP = f"select {_COLUMNS} from {{schema}}.dead_letters where id = any($1::bigint[]) order by id"  # noqa: S608
REMOVE = "delete from {schema}.dead_letters where id = any($1::bigint[])"

_CURSOR = "postgres:dead letters"
_HIGHEST_ID = 2**63 - 1


def _letter(row: Row) -> DeadLetter:
    return DeadLetter(
        id=str(row[0]),
        workflow_name=row[1],
        source=row[2],
        run_id=row[3],
        data=row[4],
        reason=row[5],
        created_at=row[6],
    )


class KeptDeadLetters:
    """The dead letters of the record store."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep these dead letters.

        Raises:
            ValueError: Postgres cannot hold one of the fields; none is kept.
        """
        if not letters:
            return
        rows = [(one.workflow_name, one.source, one.run_id, one.data, one.reason, one.created_at) for one in letters]
        try:
            await self._access.write(ADD, *columns(rows, 6))
        except (asyncpg.PostgresError, ValueError):
            for letter in letters:
                check_letter(letter)  # names the field
            raise

    async def list_dead_letters(self, query: DeadLetterQuery) -> Page[DeadLetter]:
        """One page of a workflow's dead letters, oldest first."""
        after = 0 if query.cursor is None else decode_cursor(_CURSOR, query.cursor, (int,))[0]
        if not is_text(query.workflow_name) or not is_text(query.run_id or ""):
            return Page()
        args = (query.workflow_name, after, query.limit + 1)
        if query.run_id is None:
            rows = await self._access.read(LIST, *args)
        else:
            rows = await self._access.read(LIST_OF_RUN, *args, query.run_id)
        letters = [_letter(row) for row in rows[: query.limit]]
        return Page(letters, encode_cursor(_CURSOR, int(letters[-1].id)) if len(rows) > query.limit else None)

    async def lookup_dead_letters(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        """The dead letters with these ids, oldest first."""
        return [_letter(row) for row in await self._access.read(LOOKUP, _numbers(ids))]

    async def remove_dead_letters(self, ids: Sequence[str]) -> None:
        """Remove these dead letters."""
        if numbers := _numbers(ids):
            await self._access.write(REMOVE, numbers)


def _numbers(ids: Sequence[str]) -> list[int]:
    """These ids as numbers; no dead letter has any other."""
    return [int(id_) for id_ in ids if id_.isascii() and id_.isdecimal() and int(id_) <= _HIGHEST_ID]
