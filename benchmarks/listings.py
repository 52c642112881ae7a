"""How long each question takes that people ask of a large store: listings, counts, histories, backlogs.

The store is filled through its own port, so that the rows and indexes are those of a store in use: a million runs, of
which a tenth is live, most of them recent; with timers, dead letters, held callbacks, an outbox and unread events.
"""

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from benchmarks.stored_runs import HISTORY, LONG, OTHER, WORKFLOW, Size, fill
from benchmarks.stores import Store
from workflow.protocols import (
    Backend,
    DeadLetterQuery,
    Order,
    RecordFilter,
    RecordQuery,
    RunState,
    TimeoutQuery,
    topic,
)

BOUND = 50.0
"""Milliseconds that a question may take."""
TIMES = 7
PAGE = 100

Ask = Callable[[Backend], Awaitable[object]]


@dataclass(frozen=True)
class Answer:
    """How long one question took: the median and the longest of several times, in milliseconds."""

    question: str
    median: float
    longest: float

    def __str__(self) -> str:
        slow = f"  over {BOUND:.0f} ms" if self.median > BOUND else ""
        return f"{self.question:44} {self.median:8.1f} ms, at most {self.longest:8.1f} ms{slow}"


async def listings(store: Store, runs: int) -> None:
    """Fill a store with so many runs, ask it everything, and print each answer's time."""
    size = Size(runs)
    async with store.fresh() as backend:
        began = time.perf_counter()
        await fill(backend, size)
        await store.tidy()
        print(f"{store.name}: {size} stored in {time.perf_counter() - began:.0f} s")
        answers = [await _asked(backend, question, ask) for question, ask in questions(size).items()]
    for answer in answers:
        print(f"{store.name:9} {answer}")
    slow = [answer for answer in answers if answer.median > BOUND]
    print(f"{store.name:9} {len(answers)} questions, {len(slow)} of them over {BOUND:.0f} ms\n")


async def _asked(backend: Backend, question: str, ask: Ask) -> Answer:
    await ask(backend)
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        await ask(backend)
        taken.append(1e3 * (time.perf_counter() - began))
    return Answer(question, statistics.median(taken), max(taken))


def questions(size: Size) -> dict[str, Ask]:
    """Every question, by what is asked."""
    asked: dict[str, Ask] = {}
    for name, query in _listings(size).items():
        asked[f"list {name}"] = _page(query)
        asked[f"list {name}, next page"] = _next_page(query)
    asked["list oldest, 10,000 left out by offset"] = _page(_of(offset=10_000))
    for name, chosen in _filters(size).items():
        asked[f"count {name}"] = _count(chosen)
    asked["counts by status"] = lambda backend: backend.record_store.counts(WORKFLOW)
    return asked | _about_one_run(size) | _waiting(size) | _processes()


def _of(**conditions: object) -> RecordQuery:
    return RecordQuery(workflow_name=WORKFLOW, limit=PAGE, **conditions)  # type: ignore[arg-type]


def _listings(size: Size) -> dict[str, RecordQuery]:
    newest, late = Order.DESCENDING, size.end - timedelta(hours=1)
    middle = size.begin + (size.end - size.begin) / 2
    live = (RunState.INITIATED, RunState.RUNNING, RunState.PAUSED)
    return {
        "oldest": _of(),
        "newest": _of(order=newest),
        "newest of all workflows": RecordQuery(order=newest, limit=PAGE),
        "newest of a small workflow": RecordQuery(workflow_name=OTHER, order=newest, limit=PAGE),
        "by status": _of(statuses=(2,), order=newest),
        "by several statuses": _of(statuses=(1, 2, 3, 4), order=newest),
        "by a status without runs": _of(statuses=(77,)),
        "live": _of(run_states=live, order=newest),
        "paused": _of(run_states=(RunState.PAUSED,), order=newest),
        "completed": _of(run_states=(RunState.COMPLETED,), order=newest),
        "cancelled": _of(run_states=(RunState.CANCELLED,), order=newest),
        "by status and run state": _of(statuses=(3,), run_states=(RunState.RUNNING,), order=newest),
        "failing": _of(failing=True, order=newest),
        "failing at a status": _of(failing=True, statuses=(2,), order=newest),
        "by foreign ID": _of(foreign_ids=("order-0000007",)),
        "by rare prefix": _of(foreign_id_prefix="order-00000", order=newest),
        "by common prefix": _of(foreign_id_prefix="order-", order=newest),
        "by common prefix, paused": _of(foreign_id_prefix="vip-", run_states=(RunState.PAUSED,), order=newest),
        "by a prefix without runs": _of(foreign_id_prefix="nobody", order=newest),
        "updated lately": _of(updated_after=late, order=newest),
        "updated long ago": _of(updated_before=size.begin + timedelta(hours=1)),
        "live and not updated lately": _of(run_states=live, updated_before=late),
        "created in an hour long ago": _of(created_after=middle, created_before=middle + timedelta(hours=1)),
        "created long ago, by status": _of(created_before=middle, statuses=(3,), order=newest),
    }


def _filters(size: Size) -> dict[str, RecordFilter]:
    return {
        "all": RecordFilter(workflow_name=WORKFLOW),
        "all workflows": RecordFilter(),
        "by status": RecordFilter(workflow_name=WORKFLOW, statuses=(2,)),
        "paused": RecordFilter(workflow_name=WORKFLOW, run_states=(RunState.PAUSED,)),
        "failing": RecordFilter(workflow_name=WORKFLOW, failing=True),
        "completed": RecordFilter(workflow_name=WORKFLOW, run_states=(RunState.COMPLETED,)),
        "by common prefix": RecordFilter(workflow_name=WORKFLOW, foreign_id_prefix="order-"),
        "by common prefix, paused": RecordFilter(
            workflow_name=WORKFLOW, foreign_id_prefix="vip-", run_states=(RunState.PAUSED,)
        ),
        "updated lately": RecordFilter(workflow_name=WORKFLOW, updated_after=size.end - timedelta(hours=1)),
    }


def _page(query: RecordQuery) -> Ask:
    return lambda backend: backend.record_store.list(query)


def _next_page(query: RecordQuery) -> Ask:
    """The page after the first; finding out its cursor is part of the warm-up."""
    following = query

    async def ask(backend: Backend) -> Sequence[object]:
        nonlocal following
        if following is query:
            first = await backend.record_store.list(query)
            following = replace(query, cursor=first.next)
        return await backend.record_store.list(following)

    return ask


def _count(chosen: RecordFilter) -> Ask:
    return lambda backend: backend.record_store.count(chosen)


def _about_one_run(size: Size) -> dict[str, Ask]:
    run_id, foreign_id = size.run_id(7), size.foreign_id(7)
    return {
        "one run": lambda backend: backend.record_store.lookup([run_id]),
        "the latest run of a foreign ID": lambda backend: backend.record_store.latest(WORKFLOW, foreign_id),
        "the first page of a long history": lambda backend: backend.record_store.history(LONG, limit=PAGE),
        "the last page of a long history": lambda backend: backend.record_store.history(
            LONG, after=HISTORY - PAGE, limit=PAGE
        ),
        "when a run was at a status": lambda backend: backend.record_store.first_version_at(
            LONG, 2, since=HISTORY // 2
        ),
        "which version an attempt wrote": lambda backend: backend.record_store.find_attempt(LONG, f"{LONG}-{HISTORY}"),
        "the timers of a run": lambda backend: _timeouts(backend, TimeoutQuery(workflow_name=WORKFLOW, run_id=run_id)),
        "the dead letters of a run": lambda backend: backend.record_store.list_dead_letters(
            DeadLetterQuery(workflow_name=WORKFLOW, run_id=run_id)
        ),
        "the held callbacks of a foreign ID": lambda backend: backend.record_store.list_held(
            WORKFLOW, foreign_id="held-7"
        ),
    }


def _waiting(size: Size) -> dict[str, Ask]:
    now = datetime.now(UTC)
    readings = [(topic(WORKFLOW, status), f"consumer-{status}") for status in range(1, 31)]
    return {
        "timers": lambda backend: _timeouts(backend, TimeoutQuery(workflow_name=WORKFLOW)),
        "timers at a status": lambda backend: _timeouts(backend, TimeoutQuery(workflow_name=WORKFLOW, statuses=(2,))),
        "timers that are overdue": lambda backend: _timeouts(
            backend, TimeoutQuery(workflow_name=WORKFLOW, due_before=size.end)
        ),
        "dead letters": lambda backend: backend.record_store.list_dead_letters(DeadLetterQuery(workflow_name=WORKFLOW)),
        "held callbacks": lambda backend: backend.record_store.list_held(WORKFLOW),
        "expired held callbacks": lambda backend: backend.record_store.list_expired(WORKFLOW, now=now, limit=PAGE),
        "outbox": lambda backend: backend.record_store.outbox_info(WORKFLOW, now=now),
        "backlogs of 30 consumers": lambda backend: backend.event_streamer.backlog(readings),
    }


def _processes() -> dict[str, Ask]:
    return {
        "workflows": lambda backend: backend.record_store.workflows(),
        "processes": lambda backend: backend.role_scheduler.members(),
        "roles": lambda backend: backend.role_scheduler.holdings(),
    }


async def _timeouts(backend: Backend, query: TimeoutQuery) -> Sequence[object]:
    assert backend.timeout_store is not None, "every store that is measured has timeouts"
    return await backend.timeout_store.list(query)
