# ruff: noqa: D103, S311 - the name of a case is its sentence; chance here is no secret
"""Cases for the conditions of listings and counts, compared with a model that looks at every record.

The records are made by chance from a fixed seed, so a failure can be repeated.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from workflow.protocols import (
    COUNT_CAP,
    Count,
    NewVersion,
    Order,
    Record,
    RecordFilter,
    RecordQuery,
    RunState,
    StatusCount,
    TimeoutQuery,
    TimeoutRecord,
)

from ._kit import Capability, Subject, cases_of
from ._paging import read_pages
from ._values import MINUTE, NOW, WORKFLOW, created, moved, put, settled, timer

case = cases_of("records")
timeouts_case = cases_of("timeouts")

OTHER = "another workflow"
STATES = tuple(state for state in RunState if state.valid)
PREFIXES = (
    "a",
    "A",
    "ab",
    "a%",
    "a_",
    "a*",
    "a?",
    "a[b]",
    "a\\",
    "é",
    "e",
    "\U0010ffff",
    "\U0010ffffz",
    "\x7f",
    "z",
    "'",
)
"""Beginnings of foreign IDs that a comparison by pattern, by case or by locale would mix up."""


class _Records:
    """About 300 records made by chance, as the store has them."""

    def __init__(self, seed: int, count: int = 300) -> None:
        self.random = random.Random(seed)
        self.changes = [self._change(f"run {number:03}") for number in range(count)]
        later = self.random.sample(self.changes, count // 3)
        self.moves = [moved(change.record, **self._fields(), updated_at=self._moment()) for change in later]
        self.records = {change.run_id: change.record for change in (*self.changes, *self.moves)}

    def _change(self, run_id: str) -> NewVersion:
        prefix = self.random.choice(PREFIXES)
        fields = self._fields()
        return created(
            run_id,
            f"{prefix}{self.random.choice(('', 'b', '%'))}{run_id}",
            workflow_name=self.random.choice((WORKFLOW, WORKFLOW, OTHER)),
            created_at=self._moment(),
            updated_at=self._moment(),
            **fields,
        )

    def _fields(self) -> dict[str, Any]:
        return {
            "status": self.random.choice((1, 2, 3, 4, -5, 600)),
            "run_state": self.random.choice(STATES),
            "attempt": self.random.choice((1, 1, 1, 2, 3)),
        }

    def _moment(self) -> datetime:
        return NOW + self.random.randrange(20) * MINUTE

    async def write(self, subject: Subject) -> None:
        for changes in (self.changes, self.moves):
            outcomes = await settled(subject.records, *changes)
            assert all(outcome.ok for outcome in outcomes), outcomes

    def ordered(self, query: RecordQuery) -> list[str]:
        """The run IDs that match, in the order of the query; records were created in the order of `changes`."""
        numbers = {change.run_id: number for number, change in enumerate(self.changes)}
        found = [record for record in self.records.values() if matches(query, record)]
        found.sort(key=lambda record: (record.created_at, numbers[record.run_id]))
        return [record.run_id for record in found][:: -1 if query.order is Order.DESCENDING else 1]

    def condition(self, field: str) -> dict[str, Any]:
        """One condition on this field that some of the records meet."""
        some = list(self.records.values())
        choose, moment = self.random.choice, self._moment()
        values: dict[str, Callable[[], Any]] = {
            "workflow_name": lambda: choose((WORKFLOW, OTHER)),
            "foreign_ids": lambda: (*(choose(some).foreign_id for _ in range(choose((1, 3, 40)))), "unknown"),
            "foreign_id_prefix": lambda: choose((*PREFIXES, choose(some).foreign_id, "a%b", "unknown")),
            "statuses": lambda: tuple(self.random.sample((1, 2, 3, 4, -5, 600, 7), choose((1, 2, 4)))),
            "run_states": lambda: tuple(self.random.sample(STATES, choose((1, 2, 5)))),
            "created_after": lambda: moment,
            "created_before": lambda: moment,
            "updated_after": lambda: moment,
            "updated_before": lambda: moment,
            "failing": lambda: True,
        }
        return {field: values[field]()}


FIELDS = RecordFilter.__struct_fields__


def matches(query: RecordFilter, record: Record) -> bool:
    """What `RecordFilter` says, word by word."""
    return (
        (query.workflow_name is None or record.workflow_name == query.workflow_name)
        and (not query.foreign_ids or record.foreign_id in query.foreign_ids)
        and record.foreign_id.encode().startswith(query.foreign_id_prefix.encode())
        and (not query.statuses or record.status in query.statuses)
        and (not query.run_states or record.run_state in query.run_states)
        and (query.created_after is None or record.created_at > query.created_after)
        and (query.created_before is None or record.created_at < query.created_before)
        and (query.updated_after is None or record.updated_at > query.updated_after)
        and (query.updated_before is None or record.updated_at < query.updated_before)
        and (not query.failing or record.attempt > 1)
    )


async def _is_as_the_model(subject: Subject, model: _Records, conditions: dict[str, Any], limit: int) -> int:
    """Compare listing and count for these conditions; returns how many records match."""
    count = 0
    for order in Order:
        query = RecordQuery(order=order, **conditions)
        wanted = model.ordered(query)

        async def ask(cursor: str | None, limit: int, query: RecordQuery = query) -> Any:
            return await subject.records.list(msgspec.structs.replace(query, cursor=cursor, limit=limit))

        found = await read_pages(ask, limit)
        assert [record.run_id for record in found] == wanted, f"{conditions}, {order}"
        assert all(record == model.records[record.run_id] for record in found), conditions
        count = len(wanted)
    counted = await subject.records.count(RecordFilter(**conditions))
    assert counted == Count(count), f"{conditions}: counted {counted} instead of {count}"
    return count


@case("contract: RecordFilter")
async def each_condition_alone_finds_the_records_of_the_model(subject: Subject) -> None:
    model = _Records(seed=8)
    await model.write(subject)
    assert await _is_as_the_model(subject, model, {}, 300) == len(model.records)
    for field in FIELDS:
        counts = [await _is_as_the_model(subject, model, model.condition(field), 150) for _ in range(4)]
        assert any(0 < count < len(model.records) for count in counts), f"{field}: no question tells records apart"


@case("contract: RecordFilter")
async def conditions_together_find_the_records_of_the_model(subject: Subject) -> None:
    model = _Records(seed=21)
    await model.write(subject)
    counts = []
    for turn in range(40):
        conditions: dict[str, Any] = {}
        for field in model.random.sample(FIELDS, 2 + turn % 4):
            conditions |= model.condition(field)
        counts.append(await _is_as_the_model(subject, model, conditions, model.random.choice((11, 40, 200))))
    assert sum(count > 0 for count in counts) > 10, "most questions had no answer: they prove little"


@case("contract: RecordFilter")
async def a_prefix_of_foreign_ids_is_compared_byte_for_byte(subject: Subject) -> None:
    foreign_ids = [f"{prefix}{rest}" for prefix in PREFIXES for rest in ("", "1", "%", "_", "\U0010ffff")]
    await settled(subject.records, *[created(f"{n}", key) for n, key in enumerate(dict.fromkeys(foreign_ids))])
    for prefix in {*foreign_ids, "a[", "a%%", "unknown", "1"}:
        query = RecordQuery(workflow_name=WORKFLOW, foreign_id_prefix=prefix, limit=1_000)
        found = {record.foreign_id for record in await subject.records.list(query)}
        assert found == {key for key in foreign_ids if key.startswith(prefix)}, f"prefix {prefix!r}"
        assert (await subject.records.count(RecordFilter(foreign_id_prefix=prefix))).value == len(found)


@case("contract: count")
async def a_count_stops_at_its_cap_and_says_so(subject: Subject) -> None:
    await settled(subject.records, *[created(f"run {n:02}", status=1 + n % 2) for n in range(30)])
    for query, number in ((RecordFilter(), 30), (RecordFilter(statuses=(2,)), 15), (RecordFilter(statuses=(3,)), 0)):
        for cap in (1, 14, 15, 16, 29, 30, 31, COUNT_CAP):
            wanted = Count(min(number, cap), number > cap)
            assert await subject.records.count(query, cap=cap) == wanted, f"{number} records, cap {cap}"


@case("contract: count")
async def a_count_says_nothing_about_the_page_of_a_query(subject: Subject) -> None:
    await settled(subject.records, *[created(f"run {n:02}") for n in range(12)])
    page = await subject.records.list(RecordQuery(limit=5))
    for query in (RecordQuery(limit=2), RecordQuery(offset=10), RecordQuery(cursor=page.next, limit=3)):
        assert await subject.records.count(query) == Count(12), query


def _counts(records: Sequence[Record]) -> dict[int, StatusCount]:
    """What `counts` must answer about these records of one workflow."""
    live = [record for record in records if record.run_state.live]
    by_status = Counter(record.status for record in records)
    return {
        status: StatusCount(
            live=sum(record.status == status for record in live),
            failing=sum(record.status == status and record.attempt > 1 for record in live),
            paused=sum(record.status == status and record.run_state is RunState.PAUSED for record in live),
            finished=number - sum(record.status == status for record in live),
        )
        for status, number in by_status.items()
    }


@case("contract: counts")
async def the_counts_by_status_are_those_of_the_model(subject: Subject) -> None:
    model = _Records(seed=5)
    await model.write(subject)
    assert dict(await subject.records.counts("unknown workflow")) == {}
    for name in (WORKFLOW, OTHER):
        records = [record for record in model.records.values() if record.workflow_name == name]
        assert dict(await subject.records.counts(name)) == _counts(records), name


@case("contract: counts")
async def the_counts_by_status_follow_a_run_through_its_life(subject: Subject) -> None:
    await put(subject.records, created("other", status=1))
    (record,) = await put(subject.records, created("run"))
    steps: tuple[dict[str, Any], ...] = (
        {"attempt": 2, "last_error": "text"},
        {"attempt": 3, "run_state": RunState.PAUSED},
        {"attempt": 3},
        {"status": 2, "attempt": 1},
        {"status": 3, "run_state": RunState.COMPLETED},
        {"status": 3, "run_state": RunState.REQUESTED_DATA_DELETED},
        {"status": 3, "run_state": RunState.DATA_DELETED},
        {"status": 2, "run_state": RunState.RUNNING},
        {"status": 1, "run_state": RunState.CANCELLED},
    )
    for fields in steps:
        (record,) = await put(subject.records, moved(record, **fields))
        (other,) = (await subject.records.lookup(["other"])).values()
        assert dict(await subject.records.counts(WORKFLOW)) == _counts([record, other]), fields


def _timer_matches(query: TimeoutQuery, found: TimeoutRecord) -> bool:
    return (
        found.workflow_name == query.workflow_name
        and (query.run_id is None or found.run_id == query.run_id)
        and (not query.statuses or found.status in query.statuses)
        and (query.due_before is None or found.due_at < query.due_before)
        and (query.completed or not found.completed)
    )


@timeouts_case("contract: TimeoutQuery", needs=[Capability.TIMEOUTS])
async def the_conditions_of_timers_find_those_of_the_model(subject: Subject) -> None:
    chance = random.Random(3)
    timers = [
        timer(
            f"run {chance.randrange(6)}",
            number,
            due=chance.randrange(12) * MINUTE,
            status=chance.choice((1, 2, 3, -4)),
            workflow_name=chance.choice((WORKFLOW, WORKFLOW, OTHER)),
        )
        for number in range(150)
    ]
    await subject.timeouts.create(timers)
    done = {found.id for found in chance.sample(timers, 50)}
    await subject.timeouts.complete(sorted(done))
    timers = [msgspec.structs.replace(found, completed=found.id in done) for found in timers]
    timers.sort(key=lambda found: (found.due_at, found.id))
    for _ in range(80):
        query = TimeoutQuery(
            workflow_name=chance.choice((WORKFLOW, OTHER)),
            run_id=chance.choice((None, None, f"run {chance.randrange(6)}", "unknown")),
            statuses=chance.choice(((), (), (1,), (2, -4), (9,))),
            due_before=chance.choice((None, None, NOW + chance.randrange(12) * MINUTE)),
            completed=chance.random() < 0.5,
        )

        async def ask(cursor: str | None, limit: int, query: TimeoutQuery = query) -> Any:
            return await subject.timeouts.list(msgspec.structs.replace(query, cursor=cursor, limit=limit))

        found = await read_pages(ask, chance.choice((2, 10, 200)))
        assert found == [one for one in timers if _timer_matches(query, one)], query
