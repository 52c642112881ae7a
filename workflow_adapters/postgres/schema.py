"""Brings a schema to the present migration, or says what is missing.

Migrations run one after the other under an advisory lock, each in the one transaction that also notes its number, so
that processes which start together do not apply one twice.
"""

import asyncpg

from workflow.errors import WorkflowError

from .connections import Connection
from .migrations import CURRENT, migration, prepare
from .names import MIGRATION_LOCK, lock_key, quoted

__all__ = ["SchemaBehind", "migrate", "verify"]


class SchemaBehind(WorkflowError):
    """The database lacks migrations that this release needs, and was not allowed to apply them.

    Attributes:
        schema: the schema that was looked at.
        found: the newest migration applied there; 0 when there are no tables.
        needed: the migration this release works on.
    """

    def __init__(self, schema: str, found: int):
        super().__init__(
            f"schema {schema!r} is at migration {found}, this release needs {CURRENT}: run the output of "
            f"`python -m workflow_adapters.postgres sql --schema {schema} --after {found}`, or open the backend with "
            f"migrate=True"
        )
        self.schema, self.found, self.needed = schema, found, CURRENT


async def _applied(connection: Connection, schema: str) -> int:
    try:
        number = await connection.fetchval(f"select max(number) from {quoted(schema)}.migrations")  # noqa: S608 - quoted
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return 0
    return int(number or 0)


async def verify(connection: Connection, schema: str) -> None:
    """Refuse a schema that is behind; one that is ahead was made by a newer release, which keeps it usable for us.

    Raises:
        SchemaBehind: migrations are missing.
    """
    found = await _applied(connection, schema)
    if found < CURRENT:
        raise SchemaBehind(schema, found)


async def migrate(connection: Connection, schema: str) -> None:
    """Apply what is missing."""
    if await _applied(connection, schema) >= CURRENT:
        return
    async with connection.transaction():
        # Also `create schema if not exists` fails when two run it at once, so it is done under the lock.
        await connection.execute("select pg_advisory_xact_lock($1)", lock_key(schema, MIGRATION_LOCK))
        await connection.execute(prepare(schema))
        for number in range(await _applied(connection, schema) + 1, CURRENT + 1):
            await connection.execute(migration(schema, number))
