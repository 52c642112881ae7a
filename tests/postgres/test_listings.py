"""Listings have several ways to read their rows; which one is taken must not show."""

import random
from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.postgres.database import Database
from workflow.protocols import NewVersion, Order, RecordFilter, RecordQuery, RecordStore, RunState
from workflow_adapters.conformance._values import NOW, WORKFLOW, created, put

SEED = 20_260_301
PREFIXES = ("a", "ab", "b", "Ä", "a%", "\U0010ffff")


async def _filled(store: RecordStore) -> None:
    choose = random.Random(SEED)
    states = [state for state in RunState if state is not RunState.UNKNOWN]
    changes: list[NewVersion] = []
    for number in range(300):
        change = created(f"run {number:03}", f"{choose.choice(PREFIXES)}{number}")
        record = replace(
            change.record,
            run_state=choose.choice(states),
            status=choose.randrange(4),
            attempt=choose.choice((1, 1, 2)),
            created_at=NOW + timedelta(seconds=choose.randrange(40)),
            updated_at=NOW + timedelta(seconds=choose.randrange(40)),
        )
        changes.append(replace(change, record=record))
    await put(store, *changes)


def _queries() -> list[RecordQuery]:
    middle = NOW + timedelta(seconds=20)
    filters = [
        *(RecordFilter(foreign_id_prefix=prefix) for prefix in (*PREFIXES, "zz")),
        RecordFilter(updated_after=middle),
        RecordFilter(updated_before=middle),
        RecordFilter(updated_after=middle, statuses=(1, 2)),
        RecordFilter(updated_after=middle, foreign_id_prefix="a"),
        RecordFilter(updated_before=middle, run_states=(RunState.COMPLETED, RunState.PAUSED)),
    ]
    return [
        RecordQuery(
            **{field: getattr(one, field) for field in RecordFilter.__struct_fields__ if field != "workflow_name"},
            workflow_name=name,
            order=order,
            limit=17,
        )
        for one in filters
        for name in (WORKFLOW, None)
        for order in Order
    ]


async def _answers(store: RecordStore) -> list[tuple[list[str], int]]:
    """The run IDs of all pages of each query, and how many runs match."""
    answers = []
    for query in _queries():
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = await store.list(replace(query, cursor=cursor))
            found += [record.run_id for record in page]
            cursor = page.next
            if cursor is None:
                break
        answers.append((found, (await store.count(query)).value))
    return answers


async def test_many_and_few_matches_are_read_in_different_ways_with_one_answer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.backend() as backend:
        store = backend.record_store
        await _filled(store)
        as_rare = await _answers(store)
        monkeypatch.setattr("workflow_adapters.postgres.listings.RARE", -1)
        as_common = await _answers(store)
        monkeypatch.undo()
        monkeypatch.setattr("workflow_adapters.postgres.listing_sources._FEW_NAMES", 0)
        with_many_live = await _answers(store)
    assert as_rare == as_common == with_many_live
    assert all(len(found) == len(set(found)) == number for found, number in as_rare)
    assert sum(number for _, number in as_rare) > 2_000, "the queries find something"
