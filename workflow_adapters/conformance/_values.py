"""Values the cases are made of: records, changes, events and timers with every field filled in.

Fields a case does not speak of get values that differ from their defaults, so that a store that forgets one is found.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from workflow.protocols import (
    NO_MARKS,
    Change,
    DeadLetter,
    DeadLetterQuery,
    Event,
    EventReceiver,
    EventStreamer,
    Meta,
    NewVersion,
    Outcome,
    Record,
    RecordStore,
    RunState,
    TimeoutRecord,
    Verdict,
    Version,
    topic,
)

T = TypeVar("T")

WORKFLOW = "conformance kit"
END_OF_TIME = datetime.max.replace(tzinfo=UTC)
"""How people say never; the engine itself stays a day below."""
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

_attempts = itertools.count(1)


def event_of(record: Record, **fields: Any) -> Event:
    """The event that belongs to this version."""
    event = Event(
        topic=topic(record.workflow_name, record.status),
        workflow_name=record.workflow_name,
        run_id=record.run_id,
        foreign_id=record.foreign_id,
        status=record.status,
        run_state=record.run_state,
        version=record.version,
        created_at=record.updated_at,
    )
    return msgspec.structs.replace(event, **fields)


def created(run_id: str, foreign_id: str | None = None, *, due_at: datetime | None = None, **fields: Any) -> NewVersion:
    """The version that creates a run at status 1; its attempt id is the run ID, as a trigger's is.

    `due_at` is for the record and its event; without it the record is due at NOW, the event at once.
    """
    record = Record(
        workflow_name=WORKFLOW,
        foreign_id=foreign_id if foreign_id is not None else f"foreign of {run_id}",
        run_id=run_id,
        run_state=RunState.INITIATED,
        status=1,
        object=b'{"made":"\xc3\xa9"}',
        version=1,
        created_at=NOW,
        updated_at=NOW,
        due_at=due_at or NOW,
        visit=1,
        entered_at=NOW,
        step_version=1,
        attempt_id=run_id,
        meta=Meta(status_description="one", trace_origin="kit.py:1", trace_context={"traceparent": "00-1"}),
    )
    record = msgspec.structs.replace(record, **fields)
    return NewVersion(record=record, event=event_of(record), due_at=due_at)


def moved(record: Record, *, due_at: datetime | None = None, **fields: Any) -> NewVersion:
    """The change from this record to its next version: running at the same status unless `fields` say otherwise."""
    version = record.version + 1
    at = record.updated_at + SECOND
    changes: dict[str, object] = {
        "run_state": RunState.RUNNING,
        "version": version,
        "updated_at": at,
        "due_at": due_at or at,
        "step_version": version,
        "attempt_id": f"attempt {next(_attempts)} of {record.run_id}",
        "object": b'{"version":%d}' % version,
    }
    if fields.get("status", record.status) != record.status:
        changes |= {"visit": version, "entered_at": at}
    new = msgspec.structs.replace(record, **(changes | fields))
    return NewVersion(record=new, event=event_of(new), due_at=due_at, base_attempt=record.attempt_id)


def unmarked(record: Record) -> Record:
    """The record without the marks of its version: as a new version leaves it, but for armed timers of its visit."""
    return msgspec.structs.replace(record, marks=NO_MARKS)


def marked(record: Record, **marks: Any) -> Record:
    """The record with these marks changed."""
    return msgspec.structs.replace(record, marks=msgspec.structs.replace(record.marks, **marks))


def version_of(record: Record) -> Version:
    """The version that a record is: what its history holds."""
    return record.as_version()


async def letters(store: RecordStore, workflow_name: str, *, limit: int = 100) -> Sequence[DeadLetter]:
    """The first dead letters of a workflow."""
    return await store.list_dead_letters(DeadLetterQuery(workflow_name=workflow_name, limit=limit))


async def oldest_unread(streamer: EventStreamer, topic_: str, name: str) -> datetime | None:
    """`created_at` of the oldest event that this consumer has not acknowledged."""
    return (await streamer.backlog([(topic_, name)]))[topic_, name].oldest


def timer(run_id: str = "run", number: int = 0, *, due: timedelta = timedelta(0), **fields: Any) -> TimeoutRecord:
    """A timer of status 1, due so long after NOW."""
    record = TimeoutRecord(
        id=f"{run_id}/1/{number}",
        workflow_name=WORKFLOW,
        foreign_id=f"foreign of {run_id}",
        run_id=run_id,
        status=1,
        visit=1,
        timer=number,
        expire_at=NOW + due,
        due_at=NOW + due,
        created_at=NOW - MINUTE,
    )
    return msgspec.structs.replace(record, **fields)


async def settled(store: RecordStore, *changes: Change) -> Sequence[Outcome]:
    """`store`, with those changes sent again that were not judged because another's transaction held their row."""
    outcomes = dict(enumerate(await store.store(changes)))
    while busy := [place for place, outcome in outcomes.items() if outcome.verdict is Verdict.BUSY]:
        await asyncio.sleep(0.005)
        again = await store.store([changes[place] for place in busy])
        outcomes.update(zip(busy, again, strict=True))
    return list(outcomes.values())


async def put(store: RecordStore, *moves: NewVersion) -> tuple[Record, ...]:
    """Write these moves, each in a call of its own; the records as the store shows them afterwards."""
    for move in moves:
        (outcome,) = await settled(store, move)
        assert outcome.ok, f"{move.record.run_id} version {move.record.version}: {outcome}"
    return tuple([await one(store, move.run_id) for move in moves])


async def one(store: RecordStore, run_id: str) -> Record:
    """The present record of this run, which must exist."""
    records = await store.lookup([run_id])
    assert run_id in records, f"run {run_id!r} was acknowledged but is not found"
    return records[run_id]


async def gathered(receiver: EventReceiver, count: int, *, limit: int = 100) -> list[Event]:
    """Receive until there are `count` events; one too many is an error."""
    events: list[Event] = []
    while len(events) < count:
        batch = await receiver.receive(limit)
        assert 1 <= len(batch) <= limit, f"receive({limit}) gave {len(batch)} events"
        events.extend(batch)
    assert len(events) == count, f"{len(events)} events instead of {count}: {events}"
    return events


async def stays_pending(task: "asyncio.Task[T]", why: str) -> None:
    """The task has nothing to return for a moment. A slow machine can hide a fault here, never invent one."""
    done, _ = await asyncio.wait({task}, timeout=0.2)
    assert not done, f"{why}: {task.exception() or task.result()!r}"


async def cancelled(task: "asyncio.Task[T]") -> T | None:
    """Cancel the task and wait for it; its result if it was finished all the same."""
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, asyncio.CancelledError):
        return None
    if isinstance(result, BaseException):
        raise result
    return result


async def abandoned(*tasks: "asyncio.Task[None]") -> None:
    """End what still uses an instance that crashed; how it ends is of no interest."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds; the time limit of the case ends a wait in vain."""
    # What is waited for may happen in another process, so there is nothing to await.
    while not await condition():
        await asyncio.sleep(0.02)
