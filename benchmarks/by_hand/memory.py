"""The memory backend's own ports, driven in batches without an engine: what its dictionaries can do."""

import time
import uuid
from datetime import UTC, datetime

import msgspec

from benchmarks.five_steps import STEPS, Counter
from workflow._model.change import NewVersion
from workflow._model.event import Event
from workflow._model.record import Record
from workflow._model.run_state import RunState
from workflow_adapters.memory import MemoryBackend

ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(Counter)
NAME = "by hand"


async def steps_per_second(runs: int, batch: int) -> float:
    """Versions a second: stored by compare-and-swap, listed from the outbox, sent, and removed from it."""
    async with MemoryBackend() as backend:
        records = [_first(f"f{number}") for number in range(runs)]
        await _commit(backend, records)
        began = time.perf_counter()
        for _ in range(STEPS):
            for start in range(0, runs, batch):
                records[start : start + batch] = [_next(record) for record in records[start : start + batch]]
                await _commit(backend, records[start : start + batch])
        return runs * STEPS / (time.perf_counter() - began)


async def _commit(backend: MemoryBackend, records: list[Record]) -> None:
    await backend.record_store.store([NewVersion(record=record, event=_event(record)) for record in records])
    page = await backend.record_store.list_outbox(NAME, now=datetime.now(UTC), limit=len(records))
    await backend.event_streamer.send([one.event for one in page.events])
    await backend.record_store.delete_outbox([one.id for one in page.events])


def _first(foreign_id: str) -> Record:
    now = datetime.now(UTC)
    return Record(
        workflow_name=NAME,
        foreign_id=foreign_id,
        run_id=str(uuid.uuid4()),
        run_state=RunState.INITIATED,
        status=1,
        object=ENCODER.encode(Counter()),
        version=1,
        created_at=now,
        updated_at=now,
        due_at=now,
        visit=1,
        entered_at=now,
        step_version=1,
    )


def _next(record: Record) -> Record:
    value = DECODER.decode(record.object)
    value.count += 1
    version, now = record.version + 1, datetime.now(UTC)
    return msgspec.structs.replace(
        record,
        run_state=RunState.COMPLETED if version > STEPS else RunState.RUNNING,
        status=version,
        object=ENCODER.encode(value),
        version=version,
        updated_at=now,
        due_at=now,
    )


def _event(record: Record) -> Event:
    return Event(
        topic=f"{NAME}-{record.status}",
        workflow_name=NAME,
        run_id=record.run_id,
        foreign_id=record.foreign_id,
        status=record.status,
        run_state=record.run_state,
        version=record.version,
        created_at=record.updated_at,
    )
