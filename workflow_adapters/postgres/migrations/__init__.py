"""The numbered migrations: what the tables are, and how an older schema becomes the present one.

A migration that has been released is never edited: databases remember only its number. Each must leave a schema that
the release before can still work on (add columns with defaults, add indexes), because old and new processes share one
database during a rolling deploy; what is no longer used is dropped one release later. The one that drops says so with
`oldest`, and releases that are older than that refuse the schema instead of failing on it.

`{schema}` stands for the quoted schema name.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ..names import quoted
from .first_release import FIRST_TABLES, MOVE_TYPE, OLDEST_RELEASE
from .second_release import CATALOG, CAUSES, HELD_CALLBACKS, LISTINGS, MEMBERS, MEMOS, TIMERS, VERSION_TYPE

__all__ = ["CURRENT", "MIGRATIONS", "Migration", "migration", "prepare", "script"]


class Migration(NamedTuple):
    """One step of the schema.

    Attributes:
        purpose: what it is for, in a word or two.
        sql: what it does.
        oldest: the newest migration that a release must know of to work on the result; 0 if any release can.
    """

    purpose: str
    sql: str
    oldest: int = 0


MIGRATIONS: Sequence[Migration] = (
    Migration("first tables", FIRST_TABLES),
    Migration("which releases can use it", OLDEST_RELEASE),
    Migration("versions as one parameter", MOVE_TYPE),
    Migration("who wrote a version, and why", CAUSES),
    Migration("what processes say of themselves", MEMBERS),
    Migration("callbacks that wait for their run", HELD_CALLBACKS),
    Migration("which workflows there are", CATALOG),
    Migration("when timers were written", TIMERS),
    Migration("listings", LISTINGS),
    Migration("versions that name the one before", VERSION_TYPE),
    Migration("what a process leaves for the next", MEMOS),
)
"""The first has number 1."""

CURRENT = len(MIGRATIONS)
"""The number of the newest migration: what this release works on."""

PREPARE = """
create schema if not exists {schema};
create table if not exists {schema}.migrations (
    number integer primary key,
    purpose text not null,
    applied_at timestamptz not null default now()
);
"""


def migration(schema: str, number: int) -> str:
    """The SQL of one migration, which also notes that it was applied."""
    purpose, sql, oldest = MIGRATIONS[number - 1]
    note = f"insert into {{schema}}.migrations (number, purpose) values ({number}, '{purpose}');\n"  # noqa: S608
    if oldest:
        note += f"update {{schema}}.migrations set oldest = {oldest} where number = {number};\n"  # noqa: S608
    return (sql + "\n" + note).replace("{schema}", quoted(schema))


def prepare(schema: str) -> str:
    """The SQL that makes the schema and the table that counts migrations."""
    return PREPARE.replace("{schema}", quoted(schema))


def script(schema: str, *, after: int = 0) -> str:
    """All SQL from migration number `after` (exclusive) to the newest, for those who run their own migrations."""
    parts = [prepare(schema)] if after == 0 else []
    parts += [
        f"-- {number}: {MIGRATIONS[number - 1][0]}\n{migration(schema, number).strip()}\n"
        for number in range(after + 1, CURRENT + 1)
    ]
    return "begin;\n" + "\n".join(parts) + "commit;\n"
