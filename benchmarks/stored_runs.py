"""Fills a store with runs of every kind, through its own port, without an engine."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar

from msgspec.structs import replace

from workflow.protocols import (
    Backend,
    DeadLetter,
    Event,
    HeldCallback,
    Meta,
    NewVersion,
    Record,
    RunState,
    TimeoutRecord,
    WorkflowInfo,
    topic,
)

WORKFLOW, OTHER = "listed", "listed too"
LONG = "the run with a long history"
HISTORY = 2_000
"""Versions of that run."""
SPACING = timedelta(seconds=2.592)
"""Between two triggers: a million of them take thirty days."""
BATCH = 500
UNREAD = 50_000
"""Events that no consumer has read."""
LETTERS, HELD, UNSENT = 10_000, 2_000, 20_000
OBJECT = b'{"customer": "somebody", "lines": [' + b", ".join([b'{"sku": "cup", "count": 2}'] * 10) + b"]}"

T = TypeVar("T")


@dataclass(frozen=True)
class Size:
    """How much is stored: so many runs, of which a tenth is live.

    Run `n` of them is known by its number.
    """

    runs: int
    begin: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """When the last run was triggered."""
        return self.begin + self.runs * SPACING

    def run_id(self, number: int) -> str:
        """As unordered as random ones."""
        return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}"

    def foreign_id(self, number: int) -> str:
        """Most are orders; some belong to important customers."""
        return f"vip-{number:07}" if number % 9 == 0 else f"order-{number:07}"

    def is_live(self, number: int) -> bool:
        """Three quarters of the last tenth, and a few old ones."""
        return number % 4 != 0 if number > self.runs * 9 // 10 else number % 36 == 0

    def record(self, number: int) -> Record:
        """The run: finished at 8, or live at a status from 1 to 7."""
        live = self.is_live(number)
        created_at = self.begin + number * SPACING
        updated_at = created_at + timedelta(seconds=number * 7919 % 86_400)
        finished = RunState.CANCELLED if number % 50 == 0 else RunState.COMPLETED
        return Record(
            workflow_name=OTHER if number % 20 == 0 else WORKFLOW,
            foreign_id=self.foreign_id(number),
            run_id=self.run_id(number),
            run_state=(RunState.PAUSED if number % 11 == 0 else RunState.RUNNING) if live else finished,
            status=1 + number % 7 if live else 8,
            object=OBJECT,
            version=1,
            created_at=created_at,
            updated_at=updated_at,
            due_at=updated_at,
            visit=1,
            entered_at=created_at,
            step_version=1,
            attempt=3 if live and number % 25 == 0 else 1,
            last_error="ValueError: no" if live and number % 25 == 0 else "",
            attempt_id=self.run_id(number),
            meta=Meta(status_description="status"),
        )

    def __str__(self) -> str:
        live = sum(self.is_live(number) for number in range(self.runs))
        return f"{self.runs:,} runs, {live:,} of them live,"


async def fill(backend: Backend, size: Size) -> None:
    """Store everything."""
    for name in (WORKFLOW, OTHER):
        await backend.record_store.publish(WorkflowInfo(name=name, fingerprint="1"))
    await _store_runs(backend, size)
    await _lengthen(backend)
    await _put_aside(backend, size)
    await _arm(backend, size)


async def _store_runs(backend: Backend, size: Size) -> None:
    """As many batches at once as the store wants; the outbox is emptied on the way, as a relay does."""
    batches = _batches(_created(size), BATCH)
    store = backend.record_store
    stored = 0

    async def some() -> None:
        nonlocal stored
        for batch in batches:
            outcomes = await store.store(batch)
            assert all(outcome.ok for outcome in outcomes), next(outcome for outcome in outcomes if not outcome.ok)
            stored += len(batch)
            if size.runs - stored >= UNSENT:
                await _relay(backend, send=size.runs - stored < UNSENT + UNREAD)

    await asyncio.gather(*(some() for _ in range(max(store.writers, 1))))


def _created(size: Size) -> Iterator[NewVersion]:
    for number in range(size.runs):
        record = size.record(number)
        yield NewVersion(record=record, event=_event(record))


async def _relay(backend: Backend, *, send: bool) -> None:
    now = datetime.now(UTC)
    for name in (WORKFLOW, OTHER):
        page = await backend.record_store.list_outbox(name, now=now, limit=2 * BATCH)
        if send:
            await backend.event_streamer.send([one.event for one in page.events])
        await backend.record_store.delete_outbox([one.id for one in page.events])


async def _lengthen(backend: Backend) -> None:
    """One run with a long history."""
    size = Size(1)
    record = replace(size.record(1), run_id=LONG, foreign_id=LONG, workflow_name=WORKFLOW, run_state=RunState.RUNNING)
    for version in range(1, HISTORY + 1):
        record = replace(record, version=version, status=1 + version % 3, visit=version, attempt_id=f"{LONG}-{version}")
        (outcome,) = await backend.record_store.store([NewVersion(record=record, event=_event(record))])
        assert outcome.ok, outcome


async def _put_aside(backend: Backend, size: Size) -> None:
    letters = [
        DeadLetter(
            workflow_name=WORKFLOW,
            source="outbox",
            run_id=size.run_id(number),
            data=OBJECT,
            reason="refused",
            created_at=size.begin + number * SPACING,
        )
        for number in range(LETTERS)
    ]
    for batch in _batches(letters, BATCH):
        await backend.record_store.add_dead_letters(batch)
    for number in range(HELD):
        created_at = size.begin + number * SPACING
        await backend.record_store.hold(
            HeldCallback(
                workflow_name=WORKFLOW,
                foreign_id=f"held-{number % 500}",
                id=f"callback-{number}",
                status=1 + number % 3,
                payload=OBJECT,
                created_at=created_at,
                expires_at=created_at + timedelta(days=1),
            )
        )


async def _arm(backend: Backend, size: Size) -> None:
    """A timer for each live run."""
    assert backend.timeout_store is not None, "every store that is measured has timeouts"
    for batch in _batches(_timers(size), BATCH):
        await backend.timeout_store.create(batch)


def _timers(size: Size) -> Iterator[TimeoutRecord]:
    for number in range(size.runs):
        if not size.is_live(number):
            continue
        record = size.record(number)
        due_at = record.created_at + timedelta(days=20)
        yield TimeoutRecord(
            id=f"{record.run_id}/1/0",
            workflow_name=record.workflow_name,
            foreign_id=record.foreign_id,
            run_id=record.run_id,
            status=record.status,
            visit=1,
            timer=0,
            expire_at=due_at,
            due_at=due_at,
            created_at=record.created_at,
        )


def _event(record: Record) -> Event:
    return Event(
        topic=topic(record.workflow_name, record.status),
        workflow_name=record.workflow_name,
        run_id=record.run_id,
        foreign_id=record.foreign_id,
        status=record.status,
        run_state=record.run_state,
        version=record.version,
        created_at=record.updated_at,
    )


def _batches(values: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    values = iter(values)
    while batch := list(islice(values, size)):
        yield batch
