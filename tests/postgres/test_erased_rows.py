"""Nothing in any row of any table speaks of a person whose run was erased."""

from tests.e2e.personal import PERSON, live_and_be_erased
from tests.postgres.database import Database

_TABLES = "select table_name from information_schema.tables where table_schema = $1 and table_type = 'BASE TABLE'"


async def _tables_with(database: Database, text: str) -> list[str]:
    found = []
    for (table,) in await database.beside.fetch(_TABLES, database.schema):
        rows = await database.beside.fetch(f'select t::text from "{database.schema}"."{table}" t')
        # Bytes are shown as digits.
        found += [table for (row,) in rows if text in row or text.encode().hex() in row]
    return found


async def test_no_row_of_any_table_speaks_of_a_person_who_was_erased(database: Database) -> None:
    async with database.backend() as backend:
        await live_and_be_erased(backend)
        assert "runs" in await _tables_with(database, "they asked for it"), "otherwise this test proves nothing"
        assert await _tables_with(database, PERSON) == []
