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
from workflow.protocols import Order, RecordFilter, RecordQuery, RunState, TimeoutQuery
from workflow_adapters.postgres import (
    catalog,
    dead_letters,
    event_log,
    events,
    held_callbacks,
    histories,
    leases,
    listings,
    lookups,
    memos,
    outbox,
    retention,
    sweeping,
    timeout_listings,
    timeouts,
)
from workflow_adapters.postgres.connections import PLANNER

ROWS = 200_000
NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
LATE = NOW + timedelta(seconds=ROWS)
BIG = ("runs", "history", "outbox", "events", "timeouts", "dead_letters", "held_callbacks")
FEW = 10_000
"""Rows that a statement may look at: a page, what is due, what is live; never a share of what is stored."""
COUNTING = ("counts", "count by state", "count all", "outbox info")
"""They count up to 10,000 of each of several kinds."""

_FILL = """
insert into {schema}.runs (workflow_name, foreign_id, run_id, run_state, status, object, version, created_at,
    updated_at, due_at, visit, entered_at, step_version, attempt, last_error, attempt_id, auto_paused, reason, meta)
select 'w' || n % 4, 'f' || n, 'run' || n, case when n % 100 < 95 then 5 when n % 100 = 95 then 3 else 2 end, n % 7,
    '{}', 1, $2::timestamptz + n * interval '1 second', $2::timestamptz + (n + n % 900) * interval '1 second', $2, 1,
    $2, 1, 1 + (n % 500 = 3)::integer, '', 'a', n % 1000 = 95, '', '{}' from generate_series(1, $1) n;
insert into {schema}.history (run_id, version, run_state, status, object, updated_at, due_at, visit, entered_at,
    step_version, attempt, last_error, attempt_id, auto_paused, reason, meta)
select 'run' || n, 1, 1, 1, '{}', $2, $2, 1, $2, 1, 1, '', 'a', false, '', '{}' from generate_series(1, $1) n;
insert into {schema}.outbox (workflow_name, due_at, event)
select 'w' || n % 4, case when n % 2 = 0 then $2::timestamptz + n * interval '1 second' end, '{}'
from generate_series(1, $1) n;
insert into {schema}.events (topic, partition, event) select 't' || n % 10, n % 16, '{}' from generate_series(1, $1) n;
insert into {schema}.timeouts (id, workflow_name, foreign_id, run_id, status, visit, timer, expire_at, due_at,
    created_at, completed, attempt, last_error, claims)
select 'run' || n || '/1/0', 'w' || n % 4, 'f', 'run' || n, n % 7, 1, 0, $2, $2::timestamptz + n * interval '1 second',
    $2, n % 3 = 0, 1, '', 0 from generate_series(1, $1) n;
insert into {schema}.dead_letters (workflow_name, source, run_id, data, reason, created_at)
select 'w' || n % 4, 's', case when n % 2 = 0 then 'run' || n else '' end, '', '', $2 from generate_series(1, $1) n;
insert into {schema}.held_callbacks (workflow_name, foreign_id, id, run_id, status, payload, created_at, expires_at,
    taken_by, taken_at)
select 'w' || n % 4, 'f' || n % 5000, n, '', n % 7, '', $2::timestamptz + n * interval '1 second',
    $2::timestamptz + n * interval '2 seconds', '',
    case when n % 2 = 0 then $2::timestamptz + n * interval '1 second' end
from generate_series(1, $1) n
"""


def _listings() -> dict[str, RecordQuery]:
    newest = Order.DESCENDING
    return {
        "list all": RecordQuery(offset=100),
        "list all newest": RecordQuery(order=newest),
        "list all by state": RecordQuery(run_states=(RunState.PAUSED,)),
        "list one workflow": RecordQuery(workflow_name="w1", offset=100),
        "list by state": RecordQuery(workflow_name="w3", run_states=(RunState.PAUSED,)),
        "list by a state without runs": RecordQuery(workflow_name="w3", run_states=(RunState.DATA_DELETED,)),
        "list by status": RecordQuery(workflow_name="w1", statuses=(2, 3), order=newest),
        "list by status, none": RecordQuery(workflow_name="w1", statuses=(77,)),
        "list foreign ids": RecordQuery(workflow_name="w1", foreign_ids=("f77777",)),
        "list all foreign ids": RecordQuery(foreign_ids=("f77777", "f77778")),
        "list by prefix": RecordQuery(workflow_name="w1", foreign_id_prefix="f7777"),
        "list all by prefix": RecordQuery(foreign_id_prefix="f7777"),
        "list by prefix, none": RecordQuery(workflow_name="w1", foreign_id_prefix="zz"),
        "list failing": RecordQuery(workflow_name="w3", failing=True),
        "list created": RecordQuery(created_after=NOW + HOUR, created_before=NOW + 2 * HOUR),
        "list updated": RecordQuery(workflow_name="w1", updated_after=LATE - HOUR, order=newest),
        "list all updated": RecordQuery(updated_before=NOW + HOUR),
        "list live and updated": RecordQuery(workflow_name="w1", run_states=(RunState.RUNNING,), updated_before=NOW),
    }


def _counts() -> dict[str, RecordFilter]:
    return {
        "count all": RecordFilter(),
        "count by state": RecordFilter(workflow_name="w1", run_states=(RunState.COMPLETED,)),
        "count failing": RecordFilter(failing=True),
        "count by prefix": RecordFilter(foreign_id_prefix="f7777"),
    }


def _timeout_listings() -> dict[str, TimeoutQuery]:
    return {
        "timers": TimeoutQuery(workflow_name="w1"),
        "timers of a run": TimeoutQuery(workflow_name="w1", run_id="run7"),
        "timers of statuses": TimeoutQuery(workflow_name="w1", statuses=(1, 77)),
        "timers of statuses, completed too": TimeoutQuery(workflow_name="w1", statuses=(1, 2), completed=True),
        "timers, completed too": TimeoutQuery(workflow_name="w1", completed=True, due_before=NOW + 24 * HOUR),
    }


def _rare(query: RecordFilter) -> bool:
    return listings.rarity_statement(query) is not None


def _statements() -> list[tuple[str, str, list[Any]]]:
    asked = [(name, listings.rarity_statement(query)) for name, query in {**_listings(), **_counts()}.items()]
    return [
        ("lookup", lookups.LOOKUP, [["run7", "run199999"]]),
        ("latest", lookups.LATEST, [["w1"], ["f77777"]]),
        ("live", lookups.LIVE, [["w1"], ["f77777"]]),
        ("history", histories.HISTORY, ["run7", 0, 100]),
        ("first version at", histories.FIRST_VERSION_AT, [["run7"], [1], [1]]),
        ("find attempt", histories.FIND_ATTEMPT, ["run7", "a"]),
        ("attempts", histories.ATTEMPTS, [["run7"], [1]]),
        ("stalled", sweeping.STALLED, ["w2", [1, 2], [3], True, NOW + timedelta(days=1), NOW, 100, [1, 2, 3]]),
        ("auto paused", sweeping.AUTO_PAUSED, ["w3", LATE, 100]),
        ("outbox", outbox.LIST, ["w1", NOW, 1000, 0]),
        ("outbox delete", outbox.DELETE, [[1, 2, 3]]),
        ("outbox info", outbox.INFO, ["w2", NOW + HOUR, 10_000]),
        ("outbox oldest", outbox.OLDEST, ["w2", NOW + HOUR, 100]),
        ("dead letters", dead_letters.LIST, ["w1", 100_000, 101]),
        ("dead letters of a run", dead_letters.LIST_OF_RUN, ["w2", 0, 101, "run77778"]),
        ("held", held_callbacks.HELD, ["w1", ["f77", "f81"], [1, 2], 100]),
        ("held callbacks", held_callbacks.LIST, ["w1", NOW + HOUR, 0, 101]),
        ("held callbacks of a foreign id", held_callbacks.LIST_OF_FOREIGN_ID, ["w1", NOW, 0, 101, "f77"]),
        ("expired callbacks", held_callbacks.EXPIRED, ["w1", NOW + HOUR, 100]),
        ("catalog", catalog.WORKFLOWS, []),
        ("memo", memos.MEMO, ["w1", "k77"]),
        ("log", event_log._NEWS, [199_000, ["t1", "t2"], 2000, b"{}"]),
        ("log of a topic", event_log._BEYOND, ["t1", [1, 2], [190_000, 190_000], 100]),
        ("backlog", events._BACKLOG, [["t1"], ["none"], 16, 100]),
        ("claim", timeouts.CLAIM, ["w1", [1, 2], NOW, NOW + timedelta(minutes=1), 100]),
        ("forget runs", retention.FORGET_RUNS, [timedelta(days=1)]),
        ("forget callbacks", retention.FORGET_TAKEN, [timedelta(days=1)]),
        ("forget events", retention.FORGET_EVENTS, [timedelta(days=1), timedelta(days=30), 1000, 0]),
        ("roles", leases._PICTURE, []),
        ("counts", listings.COUNTS, ["w1", 10_001]),
        *[(name, *listings.page_statement(query, rare=_rare(query))) for name, query in _listings().items()],
        *[(name, *listings.count_statement(query, 10_000, rare=_rare(query))) for name, query in _counts().items()],
        *[(f"{name}: rare?", *statement) for name, statement in asked if statement is not None],
        *[(name, *timeout_listings.statement(query)) for name, query in _timeout_listings().items()],
    ]


def _literal(value: object) -> str:
    """An argument of `execute`, as text whose type the prepared statement knows."""
    match value:
        case None:
            return "null"
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
        if node["Node Type"] == "Seq Scan" or (read > FEW and name not in COUNTING):
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
