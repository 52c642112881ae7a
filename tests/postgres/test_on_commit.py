"""Functions of the user's in the transaction that moves the run, written as people write them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import asyncpg
import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from tests.postgres.database import Database
from workflow import Builder, Options, Run
from workflow_adapters.postgres import PostgresBackend

Write = Callable[[asyncpg.Connection, str], Awaitable[object]]
FAST = Options(err_back_off=timedelta(milliseconds=10), pause_after_err_count=3)


class Ended(BaseException):
    """As a test framework raises it."""


async def swallow(connection: asyncpg.Connection, table: str) -> None:
    await connection.execute(f"insert into {table} values (1)")
    with contextlib.suppress(asyncpg.UniqueViolationError):
        await connection.execute(f"insert into {table} values (1)")


async def roll_back(connection: asyncpg.Connection, table: str) -> None:
    await connection.execute(f"insert into {table} values (1)")
    await connection.execute("rollback")


async def break_a_deferred_constraint(connection: asyncpg.Connection, table: str) -> None:
    await connection.execute(f"insert into {table} values (-1)")


async def break_the_commit(connection: asyncpg.Connection, table: str) -> None:
    await connection.execute(f"insert into {table} values (-2)")


async def cancel_itself(connection: asyncpg.Connection, table: str) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await connection.execute(f"insert into {table} values (1)")


async def end(connection: asyncpg.Connection, table: str) -> None:
    await connection.execute(f"insert into {table} values (1)")
    raise Ended


async def lose_its_own_connection(connection: asyncpg.Connection, table: str) -> None:
    await connection.execute(f"insert into {table} values (1)")
    raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


async def close(connection: asyncpg.Connection, table: str) -> None:
    await connection.execute(f"insert into {table} values (1)")
    await connection.close()


async def cut(connection: asyncpg.Connection, table: str) -> None:
    await connection.execute("select pg_terminate_backend(pg_backend_pid())")


async def take_too_long(connection: asyncpg.Connection, table: str) -> None:
    await connection.execute("set local statement_timeout = '10ms'")
    await connection.execute("select pg_sleep(10)")


async def read_only(connection: asyncpg.Connection, table: str) -> None:
    await connection.execute("set transaction read only")
    await connection.execute(f"insert into {table} values (1)")


async def deadlock(connection: asyncpg.Connection, table: str) -> None:
    raise asyncpg.DeadlockDetectedError("deadlock detected")


FAILS: dict[str, tuple[Write, str]] = {
    "an error that is caught": (swallow, "savepoint"),
    "a rollback": (roll_back, "roll_back ended the transaction"),
    "a deferred constraint": (break_a_deferred_constraint, "below zero"),
    "an error at the commit": (break_the_commit, "below zero"),
    "a cancellation of itself": (cancel_itself, "cancel_itself was cancelled"),
    "a BaseException": (end, "end raised Ended"),
    "an error of its own connection": (lose_its_own_connection, "closed in the middle"),
    "a connection that it closes": (close, "close"),
    "a connection that is cut": (cut, "terminat"),
    "a statement that takes too long": (take_too_long, "statement timeout"),
    "a transaction that is made read-only": (read_only, "read-only"),
    "a deadlock, each time": (deadlock, "deadlock detected"),
}

BUSINESS = """
create table {table} (value integer primary key, written_by text default current_user);
create function {function}() returns trigger language plpgsql as $$
begin
    if new.value = -1 then raise 'below zero' using errcode = 'P0001'; end if;
    return null;
end $$;
create constraint trigger early after insert on {table} deferrable initially deferred
    for each row execute function {function}();
"""
# Deferred once more by the first, so that only the commit itself runs it.
LATE = """
create function {function}_late() returns trigger language plpgsql as $$
begin
    if new.value = -2 then
        set constraints all deferred;
        insert into {table}_late values (1);
    end if;
    return null;
end $$;
create table {table}_late (value integer);
create constraint trigger late after insert on {table}_late deferrable initially deferred
    for each row execute function {function}_fail();
create constraint trigger early_late after insert on {table} deferrable initially deferred
    for each row execute function {function}_late();
"""
FAIL = """
create function {function}_fail() returns trigger language plpgsql as $$ begin raise 'below zero'; end $$;
"""


async def _made(database: Database) -> str:
    table = database.table("business")
    for sql in (BUSINESS, FAIL, LATE):
        await database.beside.execute(sql.format(table=table, function=database.table("check_business")))
    return table


def _declared(write: Write, table: str, kind: str) -> Builder[Thing, Status]:
    """Moves A to B with that function at first, with a plain insert when it is tried again."""
    builder = Builder("business", Thing, Status)

    async def better(connection: asyncpg.Connection) -> None:
        await connection.execute(f"insert into {table} values (2)")

    async def bad(connection: asyncpg.Connection) -> None:
        await write(connection, table)

    bad.__qualname__ = write.__qualname__

    def book(run: Run[Thing, Status]) -> Status:
        run.on_commit(bad if run.attempt == 1 else better)
        return Status.B

    if kind == "step":

        @builder.step(Status.A, to=Status.B)
        async def work(run: Run[Thing, Status]) -> Status:
            return book(run)
    else:

        @builder.timeout(Status.A, timedelta(0), to=Status.B)
        async def late(run: Run[Thing, Status], now: datetime) -> Status:
            return book(run)

    return builder


@pytest.mark.parametrize("kind", ["step", "timeout"])
@pytest.mark.parametrize("name", FAILS)
async def test_what_goes_wrong_in_it_is_a_failed_attempt(name: str, kind: str, database: Database) -> None:
    write, why = FAILS[name]
    async with database.backend() as backend:
        table = await _made(database)
        wf = _declared(write, table, kind).build(backend, default_options=FAST)
        async with wf.running():
            run_id = await wf.trigger("key")
            await wf.wait_for("key", Status.B, run_id=run_id, timeout=PATIENCE)
            rows = await database.beside.fetch(f"select value from {table}")
            assert [row[0] for row in rows] == [2]
        if kind == "step":
            history = await wf.history(run_id)
            assert [version.attempt for version in history] == [1, 2, 1]
            assert why in history[1].last_error


@pytest.mark.parametrize("name", FAILS)
async def test_what_goes_wrong_in_it_goes_to_the_caller_of_a_callback(name: str, database: Database) -> None:
    write, why = FAILS[name]
    async with database.backend() as backend:
        table = await _made(database)
        builder = Builder("business", Thing, Status)

        @builder.callback(Status.A, to=Status.B)
        async def book(run: Run[Thing, Status], payload: bytes) -> Status:
            bad = payload == b"bad"
            run.on_commit(lambda connection: write(connection, table) if bad else asyncio.sleep(0))
            return Status.B

        wf = builder.build(backend)
        async with wf.running():
            run_id = await wf.trigger("key")
            with pytest.raises(Exception, match=f"{why}|<lambda>"):
                await wf.callback("key", Status.A, b"bad")
            run = await wf.get(run_id)
            assert (run.status, run.version) == (Status.A, 1)
            assert (await wf.callback("key", Status.A, b"good")).status is Status.B
            assert await database.value(f"select count(*) from {table}") == 0


LEFT_BEHIND = {
    "a search path": "set search_path to nowhere",
    "a statement timeout": "set statement_timeout = '1ms'",
    "a role": "set role pg_monitor",
    "read-only sessions": "set session characteristics as transaction read only",
    "no prepared statements": "deallocate all",
    "a lock": "select pg_advisory_lock(815)",
    "a channel": "listen something",
    "a table of a name that is ours": "create temp table runs (run_id text)",
    "another encoding": "set client_encoding to 'SQL_ASCII'",
    "a time zone": "set timezone to 'Asia/Tokyo'",
}


@pytest.mark.parametrize("name", LEFT_BEHIND)
async def test_what_it_leaves_behind_does_not_reach_the_next_run(name: str, database: Database) -> None:
    """W-7."""
    table = "business"
    builder = Builder("business", Thing, Status)

    @builder.step(Status.A, to=Status.B)
    async def work(run: Run[Thing, Status]) -> Status:
        async def book(connection: asyncpg.Connection) -> None:
            if run.foreign_id == "first":
                await connection.execute(LEFT_BEHIND[name])
            else:
                await connection.execute("insert into business values ($1)", int(run.foreign_id))

        run.on_commit(book)
        return Status.B

    async with database.backend(f"{database.url}?options=-csearch_path%3D{database.schema}") as backend:
        await database.beside.execute(f"create table {database.table(table)} (value integer primary key)")
        wf = builder.build(backend, default_options=FAST)
        async with wf.running():
            await wf.trigger("first")
            await wf.wait_for("first", Status.B, timeout=PATIENCE)
            for number in range(8):  # more than there are connections: each is used
                await wf.trigger(str(number))
            for number in range(8):
                run = await wf.wait_for(str(number), Status.B, timeout=PATIENCE)
                history = await wf.history(run.run_id)
                assert [version.attempt for version in history] == [1, 1], history[1].last_error
        assert await database.value(f"select count(*) from {database.table(table)}") == 8
        assert await database.value("select count(*) from pg_locks where locktype = 'advisory' and objid = 815") == 0


async def test_a_savepoint_makes_an_error_harmless(database: Database) -> None:
    async def careful(connection: asyncpg.Connection, table: str) -> None:
        await connection.execute(f"insert into {table} values (1)")
        try:
            async with connection.transaction():
                await connection.execute(f"insert into {table} values (1)")
        except asyncpg.UniqueViolationError:
            await connection.execute(f"insert into {table} values (3)")

    async with database.backend() as backend:
        table = await _made(database)
        wf = _declared(careful, table, "step").build(backend)
        async with wf.running():
            await wf.trigger("key")
            await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert [row[0] for row in await database.beside.fetch(f"select value from {table} order by 1")] == [1, 3]


async def test_a_joined_callback_whose_function_catches_an_error_leaves_the_transaction_usable(
    database: Database,
) -> None:
    async with database.backend() as backend:
        assert isinstance(backend, PostgresBackend)
        table = await _made(database)
        builder = Builder("business", Thing, Status)

        @builder.callback(Status.A, to=Status.B)
        async def book(run: Run[Thing, Status], payload: bytes) -> Status:
            run.on_commit(lambda connection: swallow(connection, table))
            return Status.B

        wf = builder.build(backend)
        async with wf.running():
            await wf.trigger("key")
            connection = await asyncpg.connect(database.url)
            async with connection.transaction():
                await connection.execute(f"insert into {table} values (7)")
                async with backend.joined(connection):
                    with pytest.raises(RuntimeError, match="savepoint"):
                        await wf.callback("key", Status.A, b"")
            await connection.close()
            assert [row[0] for row in await database.beside.fetch(f"select value from {table}")] == [7]
            assert (await wf.latest("key")).status is Status.A


async def test_a_deferred_constraint_on_runs_refuses_the_run_at_fault_alone(database: Database) -> None:
    """The engine's own batches meet users' triggers too."""
    async with database.backend() as backend:
        sql = """
            create function {schema_function}() returns trigger language plpgsql as $$
            begin
                if new.foreign_id = 'bad' then raise 'not this one'; end if;
                return null;
            end $$;
            create constraint trigger picky after insert on {runs} deferrable initially deferred
                for each row execute function {schema_function}();
        """
        function = database.table("picky")
        await database.beside.execute(sql.format(schema_function=function, runs=database.table("runs")))
        builder = Builder("business", Thing, Status)

        @builder.step(Status.A, to=Status.B)
        async def work(run: Run[Thing, Status]) -> Status:
            return Status.B

        wf = builder.build(backend)
        async with wf.running():
            names = [*(f"good {number}" for number in range(20)), "bad"]
            said = await asyncio.gather(*(wf.trigger(name) for name in names), return_exceptions=True)
            assert [isinstance(answer, str) for answer in said] == [True] * 20 + [False], said
            assert "not this one" in str(said[-1])
            await asyncio.gather(*(wf.wait_for(name, Status.B, timeout=PATIENCE) for name in names[:-1]))
