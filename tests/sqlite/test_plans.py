"""No listing reads a table: the plans, and the work, of every question about 200,000 runs.

A plan alone does not tell how many rows of an index are stepped through, so the instructions of SQLite's machine are
counted too: they are the same on every machine, however busy it is.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from workflow.protocols import (
    DeadLetterQuery,
    Order,
    RecordFilter,
    RecordQuery,
    RunState,
    TimeoutQuery,
    TimeoutRecord,
    Version,
)
from workflow_adapters.sqlite import dead_letters, listing, lookups, timeouts
from workflow_adapters.sqlite.rows import encode, micros
from workflow_adapters.sqlite.schema import open_file

RUNS = 200_000
START = datetime(2026, 1, 1, tzinfo=UTC)
SPACING = timedelta(seconds=1)
GRAIN = 100
"""Instructions between two looks at the count."""

FEW = 60_000
"""Instructions for a page that an index holds in order."""
SORTED = 40 * RUNS
"""Instructions for a question whose rows are read from an index and sorted, or counted."""

MAKE_RUNS = f"""
insert into runs (run_id, workflow_name, foreign_id, run_state, status, version, visit, created, updated, due,
    auto_paused, failing)
with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {RUNS}),
shaped (n, live) as (select n, n > {RUNS} * 9 / 10 and n % 4 <> 3 from numbers)
select printf('%032x', n), iif(n % 20 = 0, 'payments', 'orders'),
    case when n % 50 = 1 and not live then 'schedule' else printf('%s-%07d', iif(n % 9 = 0, 'vip', 'order'), n) end,
    case when live then iif(n % 10 < 8, 2, 3) else iif(n % 100 < 95, 5, 4) end,
    iif(live, 1 + n % 7, iif(n % 10 < 9, 8, 7)), 2, 1, :start + n * :spacing, :start + n * :spacing + n * 7919 % 86400,
    :start + n * :spacing, 0, iif(live and n % 25 = 0, 2, null)
from shaped
"""
MAKE_HISTORY = "insert into history (run, version, status, attempt_id, data) select seq, 2, status, '', ? from runs"
MAKE_TIMERS = """
insert into timeouts (id, workflow_name, status, run_id, due, completed, data)
select run_id, workflow_name, status, run_id, due, seq % 2, ? from runs where seq % 4 = 0
"""
MAKE_LETTERS = """
insert into dead_letters (workflow_name, run_id, data) select workflow_name, run_id, x'' from runs where seq % 4 = 0
"""


def at(number: int) -> datetime:
    return START + number * SPACING


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    about: dict[str, Any] = {"workflow_name": "orders", "foreign_id": "key", "run_id": "run", "status": 1, "visit": 1}
    moments = dict.fromkeys(("created_at", "updated_at", "due_at", "entered_at"), START)
    version = Version(**about, **moments, run_state=RunState.RUNNING, object=b"", version=2, step_version=1)
    timer = TimeoutRecord(**about, id="timer", timer=0, expire_at=START, due_at=START, created_at=START)
    path: Path = tmp_path_factory.mktemp("plans") / "runs.db"
    with closing(open_file(path)) as made:
        made.execute("pragma synchronous = off")
        made.execute("begin")
        made.execute(MAKE_RUNS, {"start": micros(START), "spacing": SPACING // timedelta(microseconds=1)})
        made.execute(MAKE_HISTORY, (encode(version),))
        made.execute(MAKE_TIMERS, (encode(timer),))
        made.execute(MAKE_LETTERS)
        made.execute("commit")
        yield made


def asked(connection: sqlite3.Connection, question: Callable[[], Any]) -> tuple[Any, list[str], int]:
    """The answer, the plans of its statements, and about how many instructions they took."""
    statements: list[str] = []
    grains = 0

    def count() -> int:
        nonlocal grains
        grains += 1
        return 0

    connection.set_trace_callback(statements.append)
    connection.set_progress_handler(count, GRAIN)
    try:
        answer = question()
    finally:
        connection.set_trace_callback(None)
        connection.set_progress_handler(None, GRAIN)
    assert statements
    plans = [row[3] for one in set(statements) for row in connection.execute(f"explain query plan {one}").fetchall()]
    return answer, plans, grains * GRAIN


def check(plans: list[str], *, may_sort: bool) -> None:
    scans = [
        plan for plan in plans if plan.startswith("SCAN") and not plan.startswith(("SCAN (subquery", "SCAN CONST"))
    ]
    assert not scans, scans
    if not may_sort:
        assert not [plan for plan in plans if "TEMP B-TREE" in plan], plans


IN_ORDER: dict[str, dict[str, Any]] = {
    "all of a workflow": {},
    "all workflows": {"workflow_name": None},
    "a run state": {"run_states": (RunState.PAUSED,)},
    "several run states": {"run_states": (RunState.CANCELLED, RunState.COMPLETED)},
    "a time of creation": {"created_after": at(RUNS // 2), "created_before": at(RUNS // 2 + 100)},
}
# Where the live runs of a status are few they are sorted; so are other rare ones.
SORTED_FILTERS: dict[str, dict[str, Any]] = {
    "a status": {"statuses": (8,)},
    "several statuses": {"statuses": (1, 3, 8)},
    "a status without runs": {"statuses": (99,)},
    "a status and a run state": {"statuses": (3,), "run_states": (RunState.RUNNING,)},
    "a status and a time of creation": {"created_after": at(RUNS // 2), "statuses": (8,)},
    "a foreign ID": {"foreign_ids": ("order-0100003",)},
    "a foreign ID of many runs": {"foreign_ids": ("schedule",)},
    "a rare prefix": {"foreign_id_prefix": "order-01000"},
    "a prefix of many": {"foreign_id_prefix": "vip-"},
    "a prefix at the far end": {"foreign_id_prefix": "order-018"},
    "a prefix and a run state": {"foreign_id_prefix": "order-", "run_states": (RunState.PAUSED,)},
    "failing": {"failing": True},
    "failing at a status": {"failing": True, "statuses": (2,)},
    "updated lately": {"updated_after": at(RUNS - 1000)},
    "updated in the last quarter": {"updated_after": at(RUNS * 3 // 4)},
    "updated in the last quarter, paused": {"updated_after": at(RUNS * 3 // 4), "run_states": (RunState.PAUSED,)},
    "updated long ago": {"updated_before": at(RUNS // 10)},
}


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("name", [*IN_ORDER, *SORTED_FILTERS])
def test_a_page_of_runs_and_the_next_one_read_an_index(name: str, order: Order, connection: sqlite3.Connection) -> None:
    may_sort, most = (name in SORTED_FILTERS, SORTED if name in SORTED_FILTERS else FEW)
    filters = {"workflow_name": "orders"} | (IN_ORDER | SORTED_FILTERS)[name]
    cursor = None
    for _ in range(2):
        query = RecordQuery(**filters, order=order, cursor=cursor)
        page, plans, instructions = asked(connection, lambda query=query: listing.page(connection, query))
        check(plans, may_sort=may_sort)
        assert instructions <= most, f"{instructions:,} instructions"
        cursor = page.next
        if cursor is None:
            break


@pytest.mark.parametrize("name", [*IN_ORDER, *SORTED_FILTERS])
def test_a_count_of_runs_reads_an_index(name: str, connection: sqlite3.Connection) -> None:
    query = RecordFilter(**{"workflow_name": "orders"} | (IN_ORDER | SORTED_FILTERS)[name])
    _, plans, instructions = asked(connection, lambda: listing.count(connection, query, 10_000))
    check(plans, may_sort=False)
    assert instructions <= SORTED, f"{instructions:,} instructions"


def test_numbers_by_status_read_an_index(connection: sqlite3.Connection) -> None:
    counts, plans, instructions = asked(connection, lambda: listing.counts(connection, "orders"))
    check(plans, may_sort=True)  # the paused ones are grouped by status
    assert instructions <= SORTED, f"{instructions:,} instructions"
    live = connection.execute("select count(*) from runs where workflow_name = 'orders' and run_state in (1, 2, 3)")
    assert sum(count.live for count in counts.values()) == live.fetchone()[0]
    assert counts[8].finished == 10_000
    assert counts[8].capped


@pytest.mark.parametrize(
    "filters",
    [{}, {"statuses": (8,)}, {"due_before": at(50_000)}, {"completed": True}, {"run_id": f"{8:032x}"}],
    ids=str,
)
def test_a_page_of_timers_reads_an_index(filters: dict[str, Any], connection: sqlite3.Connection) -> None:
    query = TimeoutQuery(**{"workflow_name": "orders"} | filters)
    _, plans, instructions = asked(connection, lambda: timeouts._page(connection, query))
    check(plans, may_sort="run_id" in filters)
    assert instructions <= FEW, f"{instructions:,} instructions"


@pytest.mark.parametrize("run_id", [None, f"{8:032x}"])
def test_a_page_of_dead_letters_reads_an_index(run_id: str | None, connection: sqlite3.Connection) -> None:
    query = DeadLetterQuery(workflow_name="orders", run_id=run_id)
    _, plans, instructions = asked(connection, lambda: dead_letters._rows(connection, query, 0))
    check(plans, may_sort=False)
    assert instructions <= FEW, f"{instructions:,} instructions"


def test_questions_about_one_run_read_an_index(connection: sqlite3.Connection) -> None:
    run_id = f"{8:032x}"
    questions: list[Callable[[], Any]] = [
        lambda: lookups.lookup(connection, [run_id]),
        lambda: lookups.latest(connection, "orders", "schedule"),
        lambda: lookups.history(connection, run_id, 0, 10),
        lambda: lookups.first_version_at(connection, run_id, 8, 1),
        lambda: lookups.find_attempt(connection, run_id, "nobody's"),
    ]
    for question in questions:
        _, plans, instructions = asked(connection, question)
        check(plans, may_sort=False)
        assert instructions <= FEW, f"{instructions:,} instructions"
