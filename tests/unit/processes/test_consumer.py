"""What a consumer remembers and acknowledges, in virtual time."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

from tests.e2e.virtual import virtually
from workflow import Event, RunState
from workflow._engine.log import SafeLogger
from workflow._engine.metrics import Metrics
from workflow._model.record import Record
from workflow._model.shard import WHOLE
from workflow._processes.consumer import Consumer
from workflow._processes.lease_term import LeaseTerm
from workflow._processes.stream_reader import Reader
from workflow._processes.work import Work
from workflow_adapters.memory import MemoryEventStreamer, MemoryLease

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(run_id: str, version: int) -> Event:
    return Event(
        topic="topic",
        workflow_name="w",
        run_id=run_id,
        foreign_id=run_id,
        status=1,
        run_state=RunState.RUNNING,
        version=version,
        created_at=NOW,
    )


def record(run_id: str, version: int) -> Record:
    return Record(
        workflow_name="w",
        foreign_id=run_id,
        run_id=run_id,
        run_state=RunState.RUNNING,
        status=1,
        object=b"",
        version=version,
        created_at=NOW,
        updated_at=NOW,
        due_at=NOW,
        visit=1,
        entered_at=NOW,
        step_version=version,
    )


class Handling(Work):
    """Handles what is not older than its record; runs called "hangs" never end."""

    def __init__(self, **versions: int) -> None:
        self.records = {run_id: record(run_id, version) for run_id, version in versions.items()}
        self.handled: list[tuple[str, int]] = []

    async def lookup(self, run_ids: Sequence[str]) -> dict[str, Record]:
        return {run_id: self.records[run_id] for run_id in run_ids if run_id in self.records}

    def judge(self, event: Event, record: Record | None) -> str | None:
        if record is None:
            return "record not found"
        return "old" if record.version > event.version else None

    async def handle(self, record: Record, attempt: int) -> bool:
        self.handled.append((record.run_id, record.version))
        if record.run_id == "hangs":
            await asyncio.Event().wait()
        return True


class Opening(Reader):
    def __init__(self, stream: MemoryEventStreamer) -> None:
        self._stream = stream

    def open(self) -> Any:
        return self._stream.receiver("topic", "me", shard=WHOLE)

    def partitions(self) -> int:
        return self._stream.partitions("topic")

    def age(self, event: Event) -> float:
        return 0.0


class Running:
    """A consumer at work, until the context is left."""

    def __init__(self, work: Handling) -> None:
        self.work, self.stream = work, MemoryEventStreamer()

    async def __aenter__(self) -> Self:
        consumer = Consumer(
            self.work,
            Opening(self.stream),
            workflow_name="w",
            name="me",
            shard=WHOLE,
            slots=4,
            lag_alert=None,
            metrics=Metrics().process("w", "me"),
            logger=SafeLogger(logging.getLogger("test")),
        )
        self.term = LeaseTerm(MemoryLease(1, unclean=False), 0.0)
        self.task = asyncio.ensure_future(consumer.run(self.term))
        return self

    async def unread(self) -> int:
        return (await self.stream.backlog([("topic", "me")]))["topic", "me"].events

    async def __aexit__(self, *_: object) -> None:
        self.term.draining.set()
        await self.task


def test_an_event_ahead_of_its_record_is_not_taken_for_done() -> None:
    """The store lagged, or was restored from a backup: what comes for the run later must be handled."""

    async def main() -> None:
        async with Running(Handling(run=5)) as at:
            await at.stream.send([event("run", 7), event("unknown", 1)])
            await asyncio.sleep(10)
            assert at.work.handled == []
            at.work.records["unknown"] = record("unknown", 1)
            await at.stream.send([event("run", 5), event("unknown", 1)])
            await asyncio.sleep(10)
            assert sorted(at.work.handled) == [("run", 5), ("unknown", 1)]
            at.work.records["run"] = record("run", 7)
            await at.stream.send([event("run", 7)])
            await asyncio.sleep(10)
            assert at.work.handled[-1] == ("run", 7)

    virtually(main())


def test_a_hanging_handler_no_longer_holds_the_mark_after_a_while_although_nothing_else_happens() -> None:
    """Else the lag would stay, and with it the sweeper blind to everything newer."""

    async def main() -> None:
        async with Running(Handling(hangs=1)) as at:
            await at.stream.send([event("hangs", 1)])
            await asyncio.sleep(20)
            assert await at.unread() == 1
            await asyncio.sleep(60)
            assert await at.unread() == 0

    virtually(main())
