"""With 200,000 runs stored, every statement of the hot path is served by an index, and reads little of the table.

A plan without a sequential scan is not enough: an index that is walked from end to end is no better. So each statement
is run, and what its scans really read is counted. It is asked twice: planned for these arguments, and as the backend
does it, one plan for all arguments.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.postgres.database import Database
from workflow._model.query import Order, RecordQuery
from workflow._model.run_state import RunState
from workflow_adapters.postgres import leases, outbox, reads, receiver, retention, tail, timeouts
from workflow_adapters.postgres.connections import PLANNER

ROWS = 200_000
NOW = datetime(2026, 3, 1, tzinfo=UTC)
BIG = ("runs", "history", "outbox", "events", "timeouts")
FEW = 10_000
"""Rows that a statement may look at: a page, what is due, what is live; never a share of what is stored."""
BY_FILTER = ("list one workflow by state", "list one workflow by status")
"""They walk the runs of one workflow in order until the page is full: rare matches lie far apart."""

_FILL = """
insert into {schema}.runs (workflow_name, foreign_id, run_id, run_state, status, object, version, created_at,
    updated_at, due_at, visit, entered_at, step_version, attempt, last_error, attempt_id, auto_paused, reason, meta)
select 'w' || n % 4, 'f' || n, 'run' || n, case when n % 100 < 95 then 5 when n % 100 = 95 then 3 else 2 end, n % 7,
    '{}', 1, $2, $2, $2, 1, $2, 1, 1, '', 'a', n % 1000 = 95, '', '{}' from generate_series(1, $1) n;
insert into {schema}.history (run_id, version, run_state, status, object, updated_at, due_at, visit, entered_at,
    step_version, attempt, last_error, attempt_id, auto_paused, reason, meta)
select 'run' || n, 1, 1, 1, '{}', $2, $2, 1, $2, 1, 1, '', 'a', false, '', '{}' from generate_series(1, $1) n;
insert into {schema}.outbox (workflow_name, due_at, event)
select 'w' || n % 4, case when n % 2 = 0 then $2::timestamptz + n * interval '1 second' end, '{}'
from generate_series(1, $1) n;
insert into {schema}.events (topic, partition, event) select 't' || n % 10, n % 16, '{}' from generate_series(1, $1) n;
insert into {schema}.timeouts (id, workflow_name, foreign_id, run_id, status, visit, timer, expire_at, due_at,
    created_at, completed, attempt, last_error, claims)
select 'run' || n || '/1/0', 'w' || n % 4, 'f', 'run' || n, 1, 1, 0, $2, $2::timestamptz + n * interval '1 second', $2,
    n % 2 = 0, 1, '', 0 from generate_series(1, $1) n
"""


def _statements() -> list[tuple[str, str, list[Any]]]:
    listings = {
        "list all": RecordQuery(offset=100),
        "list all newest": RecordQuery(order=Order.DESCENDING),
        "list one workflow": RecordQuery(workflow_name="w1", offset=100),
        "list one workflow by state": RecordQuery(workflow_name="w3", run_states=(RunState.PAUSED,)),
        "list one workflow by status": RecordQuery(workflow_name="w1", statuses=(2, 3), order=Order.DESCENDING),
        "list foreign ids": RecordQuery(workflow_name="w1", foreign_ids=("f77777",)),
    }
    return [
        ("lookup", reads._LOOKUP, [["run7", "run199999"]]),
        ("latest", reads._LATEST, [["w1"], ["f77777"]]),
        ("live", reads._LIVE, [["w1"], ["f77777"]]),
        ("history", reads._HISTORY, ["run7"]),
        ("passed", reads._PASSED, [["run7"], [1]]),
        ("find attempt", reads._FIND_ATTEMPT, ["run7", "a"]),
        ("attempts", reads._ATTEMPTS, [["run7"], [1]]),
        ("stalled", reads._STALLED, ["w2", [1, 2], [3], True, NOW + timedelta(days=1), NOW, 100, [1, 2, 3]]),
        ("auto paused", reads._AUTO_PAUSED, ["w3", NOW + timedelta(days=1), 100]),
        ("outbox", outbox._LIST, ["w1", NOW, 1000, 0]),
        ("outbox delete", outbox._DELETE, [[1, 2, 3]]),
        ("catch up", receiver.CATCH_UP, ["t1", [1, 2], [190_000, 190_000], 100]),
        ("tail", tail.READ, [199_000, ["t1", "t2"], 2000]),
        ("claim", timeouts._CLAIM, ["w1", [1, 2], NOW, NOW + timedelta(minutes=1), 100]),
        ("timers of a run", timeouts._LIST_RUN, ["w1", "run7"]),
        ("forget runs", retention._FORGET_RUNS, [timedelta(days=1), 1000]),
        ("forget events", retention._FORGET_EVENTS, [timedelta(days=1), timedelta(days=30), 1000, 0]),
        ("roles", leases._PICTURE, []),
        *[(name, *reads._listing(query)) for name, query in listings.items()],
    ]


def _literal(value: object) -> str:
    """An argument of `execute`, as text whose type the prepared statement knows."""
    match value:
        case list() | tuple():
            text = "{" + ",".join(json.dumps(str(one)) for one in value) + "}"
        case datetime():
            text = value.isoformat()
        case timedelta():
            text = f"{value.total_seconds()} seconds"
        case _:
            text = str(value)
    return "'" + text.replace("'", "''") + "'"


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _wrong(name: str, plan: dict[str, Any]) -> Iterator[str]:
    """What a plan that was run reads of the large tables and should not."""
    for node in _nodes(plan):
        table = node.get("Relation Name", "")
        if table not in BIG or node["Node Type"] == "ModifyTable":
            continue
        read = node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        if node["Node Type"] == "Seq Scan" or (read > FEW and name not in BY_FILTER):
            yield f"{name}: {node['Node Type']} on {table} by {node.get('Index Name')} read {read} rows"


async def _fill(connection: asyncpg.Connection, schema: str) -> None:
    for statement in _FILL.replace("{schema}", schema).split(";"):
        await connection.execute(statement, *[ROWS, NOW][: 2 if "$2" in statement else 1])
    await connection.execute("; ".join(f"analyze {schema}.{table}" for table in BIG))


async def _plan(connection: asyncpg.Connection, sql: str, arguments: list[Any]) -> dict[str, Any]:
    """Run a statement as a prepared one, undo what it did, and return the plan with what it read."""
    await connection.execute(f"prepare asked as {sql}")
    change = connection.transaction()
    await change.start()
    try:
        given = f"({', '.join(map(_literal, arguments))})" if arguments else ""
        explained = await connection.fetch(f"explain (analyze, timing off, format json) execute asked {given}")
        plan: dict[str, Any] = json.loads(explained[0][0])[0]["Plan"]
        return plan
    finally:
        await change.rollback()
        await connection.execute("deallocate asked")


@pytest.mark.timeout(300)
async def test_every_statement_uses_an_index_on_200_000_rows(database: Database) -> None:
    """R-33: list, latest, sweep, relay, timers, events and retention do not slow down with what is stored."""
    async with database.backend():
        pass
    schema, connection = f'"{database.schema}"', database.beside
    await _fill(connection, schema)
    wrong = []
    for settings in ({"plan_cache_mode": "force_custom_plan"}, PLANNER):
        for key, value in settings.items():
            await connection.execute(f"set {key} = '{value}'")
        for name, sql, arguments in _statements():
            plan = await _plan(connection, sql.replace("{schema}", schema), arguments)
            wrong += [f"{settings}: {line}" for line in _wrong(name, plan)]
    assert not wrong, "\n".join(wrong)
