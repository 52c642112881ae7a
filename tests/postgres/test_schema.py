"""Migrations: applied once, printed, refused when missing; names of schemas; the views for people."""

import asyncio
import os
import shutil
import subprocess
import sys

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from tests.postgres.database import Database, fresh
from workflow import Builder, Run
from workflow_adapters.conformance._values import created, moved
from workflow_adapters.postgres import PostgresBackend, SchemaAhead, SchemaBehind, SchemaForeign
from workflow_adapters.postgres.migrations import CURRENT, MIGRATIONS, script


def _printed(*arguments: str) -> str:
    command = [sys.executable, "-m", "workflow_adapters.postgres", "sql", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _psql(url: str, sql: str) -> None:
    """What an operator does with the printed SQL."""
    beside_server = os.path.join(os.environ.get("WORKFLOW_POSTGRES_BIN", ""), "psql")
    psql = beside_server if os.path.exists(beside_server) else shutil.which("psql")
    assert psql, "this test needs psql: install postgresql-client"
    done = subprocess.run([psql, url, "-X", "-q", "-v", "ON_ERROR_STOP=1"], input=sql, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def _shape(database: Database) -> list[tuple[object, ...]]:
    """Every column and index of the schema."""
    rows = await database.beside.fetch(
        """select table_name::text, column_name::text, data_type::text, column_default::text
        from information_schema.columns where table_schema = $1
        union all select tablename, indexname, replace(indexdef, $1, ''), null from pg_indexes where schemaname = $1
        order by 1, 2""",
        database.schema,
    )
    # The names of sequences hold that of the schema.
    return [tuple(str(value).replace(database.schema, "") for value in row) for row in rows]


async def test_processes_that_start_together_apply_each_migration_once(database: Database) -> None:
    async def start() -> None:
        async with database.backend():
            pass

    async with asyncio.TaskGroup() as together:
        for _ in range(6):
            together.create_task(start())
    applied = await database.beside.fetch(f"select number from {database.table('migrations')} order by number")
    assert [row[0] for row in applied] == list(range(1, CURRENT + 1))


async def test_a_schema_that_is_behind_is_refused_without_migrate(database: Database) -> None:
    with pytest.raises(SchemaBehind, match=f"at migration 0, this release needs {CURRENT}") as refused:
        async with database.backend(migrate=False):
            pass
    assert (refused.value.schema, refused.value.found) == (database.schema, 0)
    assert not await database.beside.fetchval("select 1 from pg_namespace where nspname = $1", database.schema)


async def test_the_printed_sql_makes_a_schema_that_is_accepted(database: Database) -> None:
    """By psql, in one go and one migration after the other: the same as what the backend makes by itself."""
    _psql(database.url, _printed("--schema", database.schema))
    async with database.backend(migrate=False) as backend:
        assert (await backend.record_store.store([created("run")]))[0].ok
    expected = await _shape(database)
    async with fresh() as stepwise:
        for number in range(1, CURRENT + 1):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("workflow_adapters.postgres.migrations.CURRENT", number)
                _psql(stepwise.url, script(stepwise.schema, after=number - 1))
        assert await _shape(stepwise) == expected
    async with fresh() as automatic, automatic.backend():
        assert await _shape(automatic) == expected


async def test_migrations_are_numbered_and_applied_once(database: Database) -> None:
    for _ in range(3):
        async with database.backend():
            pass
    rows = await database.beside.fetch(f"select number, purpose from {database.table('migrations')} order by number")
    assert [tuple(row) for row in rows] == [(number, one.purpose) for number, one in enumerate(MIGRATIONS, start=1)]


@pytest.mark.parametrize("found", range(1, CURRENT))
async def test_an_older_schema_is_refused_or_brought_up_to_date(database: Database, found: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workflow_adapters.postgres.migrations.CURRENT", found)
        await database.beside.execute(script(database.schema))
    with pytest.raises(SchemaBehind, match=f"--schema {database.schema} --after {found}`"):
        async with database.backend(migrate=False):
            pass
    async with database.backend() as backend:
        assert (await backend.record_store.store([created("run")]))[0].ok
    async with database.backend(migrate=False):
        pass


@pytest.mark.parametrize("migrate", [True, False])
async def test_a_schema_that_no_longer_suits_this_release_is_refused(database: Database, migrate: bool) -> None:
    async with database.backend():
        pass
    note = f"insert into {database.table('migrations')} (number, purpose, oldest) values ($1, 'drops a column', $1)"
    await database.beside.execute(note, CURRENT + 2)
    with pytest.raises(
        SchemaAhead, match=f"needs a release that knows migration {CURRENT + 2}; this one knows"
    ) as refused:
        async with database.backend(migrate=migrate):
            pass
    assert (refused.value.found, refused.value.known) == (CURRENT + 2, CURRENT)


@pytest.mark.parametrize(
    "theirs", ["table {schema}.migrations (id integer, name text)", "table {schema}.events (id integer)"]
)
async def test_a_schema_with_tables_of_somebody_else_is_left_alone(database: Database, theirs: str) -> None:
    await database.beside.execute(f'create schema "{database.schema}"')
    await database.beside.execute("create " + theirs.replace("{schema}", f'"{database.schema}"'))
    with pytest.raises(SchemaForeign, match="nothing was changed: choose another"):
        async with database.backend():
            pass
    names = await database.beside.fetch("select tablename from pg_tables where schemaname = $1", database.schema)
    assert len(names) == 1


async def test_a_schema_may_have_any_name() -> None:
    async with fresh('Wörk "flow"; drop') as database:
        async with database.backend() as backend:
            assert (await backend.record_store.store([created("run")]))[0].ok
            assert await backend.record_store.lookup(["run"])
        with pytest.raises(ValueError, match="a name has 1 to 63 bytes"):
            PostgresBackend(database.url, schema="x" * 64)


async def test_old_code_works_on_a_schema_one_expand_step_ahead(database: Database) -> None:
    """A rolling deploy: the new release has migrated, the old one still writes and reads."""
    async with database.backend() as old:
        (first,) = [created("before").record]
        await old.record_store.store([created("before")])
        await database.beside.execute(
            f"alter table {database.table('runs')} add column priority integer not null default 0;"
            f"alter table {database.table('history')} add column priority integer not null default 0;"
            f"alter table {database.table('outbox')} add column shard integer;"
            f"alter table {database.table('events')} add column shard integer;"
            f"create index on {database.table('runs')} (priority);"
            f"insert into {database.table('migrations')} values ({CURRENT + 1}, 'of the next release')"
        )
        outcomes = await old.record_store.store([moved(first), created("after")])
        assert all(outcome.ok for outcome in outcomes)
        assert set(await old.record_store.lookup(["before", "after"])) == {"before", "after"}
        assert len(await old.record_store.history("before")) == 2
    async with database.backend() as restarted:
        assert len(await restarted.record_store.history("before")) == 2


async def test_a_person_reads_the_object_as_json(database: Database) -> None:
    async with database.backend() as backend:
        await backend.record_store.store(
            [created("json", object=b'{"total": 3}'), created("packed", object=b"\x81\xa1")]
        )
        await backend.record_store.store([moved(created("json").record, object=b'{"total": 4}')])
    rows = await database.beside.fetch(
        f"""select run_id, run_state, status_description, object ->> 'total', pg_typeof(object)::text
        from {database.table("readable_runs")} order by 1"""
    )
    assert [tuple(row) for row in rows] == [
        ("json", "running", "one", "4", "jsonb"),
        ("packed", "initiated", "one", None, "jsonb"),
    ]
    versions = await database.beside.fetch(
        f"select version, object ->> 'total' from {database.table('readable_history')} where run_id = 'json' order by 1"
    )
    assert [tuple(row) for row in versions] == [(1, "3"), (2, "4")]
    events = await database.beside.fetch(
        f"select event ->> 'run_id' from {database.table('readable_outbox')} order by id"
    )
    assert [row[0] for row in events] == ["json", "packed", "json"]


async def test_a_server_without_fsync_is_refused_by_the_setting_it_shows(database: Database) -> None:
    """R-33: a store that may lose what it acknowledged must be asked for."""
    assert await database.beside.fetchval("show fsync") == "on", "the tests themselves must not run on a kinder server"


async def test_a_schema_that_is_dropped_and_made_again_is_worked_on_at_once(database: Database) -> None:
    """The connections remember the numbers of its types, which are others now."""
    builder = Builder("moving", Thing, Status)

    @builder.step(Status.A, to=Status.B)
    async def work(run: Run[Thing, Status]) -> Status:
        return Status.B

    async with database.backend() as backend:
        wf = builder.build(backend)
        async with wf.running():
            await asyncio.gather(*(wf.trigger(f"before {number}") for number in range(20)))
            await database.beside.execute(f'drop schema "{database.schema}" cascade')
            async with database.backend():
                pass  # it makes the tables
            for number in range(10):
                await wf.trigger(f"after {number}")
            for number in range(10):
                await wf.wait_for(f"after {number}", Status.B, timeout=PATIENCE)
