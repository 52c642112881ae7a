"""Brings a schema to the present migration, or says what is missing.

Migrations run one after the other under an advisory lock, each in the one transaction that also notes its number, so
that processes which start together do not apply one twice.
"""

import asyncpg

from workflow.errors import WorkflowError

from .migrations import CURRENT, migration, prepare
from .names import MIGRATION_LOCK, lock_key, quoted
from .server import Connection

__all__ = ["SchemaAhead", "SchemaBehind", "SchemaForeign", "migrate", "verify"]


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


class SchemaAhead(WorkflowError):
    """A newer release has changed the schema so that this one can no longer work on it.

    Attributes:
        schema: the schema that was looked at.
        found: the newest migration applied there.
        known: the newest migration this release knows.
        oldest: the newest migration that a release must know of to use the schema.
    """

    def __init__(self, schema: str, found: int, oldest: int):
        super().__init__(
            f"schema {schema!r} is at migration {found}, which needs a release that knows migration {oldest}; this one "
            f"knows {CURRENT}: upgrade it"
        )
        self.schema, self.found, self.known, self.oldest = schema, found, CURRENT, oldest


class SchemaForeign(WorkflowError):
    """The schema holds foreign tables under the names that are needed here.

    Attributes:
        schema: the schema that was looked at.
    """

    def __init__(self, schema: str, why: str):
        super().__init__(
            f"schema {schema!r} holds something that is not of this library ({why}), nothing was changed: choose "
            f"another one with PostgresBackend(dsn, schema=...)"
        )
        self.schema = schema


# Whether the column `oldest` exists yet or not.
_APPLIED = "select max(number), max((to_jsonb(m) ->> 'oldest')::integer) from {schema}.migrations as m"


async def _applied(connection: Connection, schema: str) -> int:
    """The newest migration that was applied, 0 if none was."""
    try:
        row = await connection.fetchrow(_APPLIED.replace("{schema}", quoted(schema)))
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return 0
    except asyncpg.UndefinedColumnError as error:
        raise SchemaForeign(schema, f"table migrations: {error}") from error
    assert row is not None, "an aggregate is always one row"
    found, oldest = row[0] or 0, row[1] or 0
    if oldest > CURRENT:
        raise SchemaAhead(schema, found, oldest)
    return int(found)


async def verify(connection: Connection, schema: str) -> None:
    """Refuse a schema that is behind; one that is ahead was made by a newer release, which says if we may use it.

    Raises:
        SchemaBehind: migrations are missing.
        SchemaAhead: a newer release has dropped what this one needs.
        SchemaForeign: foreign tables are there.
    """
    found = await _applied(connection, schema)
    if found < CURRENT:
        raise SchemaBehind(schema, found)


async def migrate(connection: Connection, schema: str) -> None:
    """Apply what is missing.

    Raises:
        SchemaAhead, SchemaForeign: as `verify`; nothing was changed.
    """
    if await _applied(connection, schema) >= CURRENT:
        return
    try:
        async with connection.transaction():
            # Also `create schema if not exists` fails when two run it at once, so it is done under the lock.
            await connection.execute("select pg_advisory_xact_lock($1)", lock_key(schema, MIGRATION_LOCK))
            await connection.execute(prepare(schema))
            for number in range(await _applied(connection, schema) + 1, CURRENT + 1):
                await connection.execute(migration(schema, number))
    except (asyncpg.DuplicateTableError, asyncpg.DuplicateFunctionError) as error:
        raise SchemaForeign(schema, str(error)) from error
