"""What a consumer remembers and acknowledges, in virtual time."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Self

import msgspec
import pytest

from tests.e2e.virtual import virtually
from workflow import Event, RunState
from workflow._engine.log import SafeLogger
from workflow._engine.metrics import Metrics
from workflow._engine.rewinds import Rewinds
from workflow._model.record import Record
from workflow._model.shard import WHOLE
from workflow._processes.consumer import Consumer
from workflow._processes.lease_term import LeaseTerm
from workflow._processes.stream_reader import Reader
from workflow._processes.work import Work
from workflow.errors import StreamReset
from workflow.protocols import EventReceiver
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
        self.let_go = asyncio.Event()

    async def lookup(self, run_ids: Sequence[str]) -> dict[str, Record]:
        return {run_id: self.records[run_id] for run_id in run_ids if run_id in self.records}

    def judge(self, event: Event, record: Record | None) -> str | None:
        if record is None:
            return "record not found"
        return "old" if record.version > event.version else None

    async def handle(self, record: Record, attempt: int) -> bool:
        self.handled.append((record.run_id, record.version))
        if record.run_id == "hangs":
            await self.let_go.wait()
        return True


class Resettable(EventReceiver):
    """A receiver that ends when its stream is another one, as those over a log do."""

    def __init__(self, real: EventReceiver, resets: asyncio.Event) -> None:
        self._real, self._resets = real, resets

    async def receive(self, limit: int) -> Sequence[Event]:
        receiving = asyncio.ensure_future(self._real.receive(limit))
        resetting = asyncio.ensure_future(self._resets.wait())
        try:
            await asyncio.wait([receiving, resetting], return_when=asyncio.FIRST_COMPLETED)
            if self._resets.is_set():
                self._resets.clear()
                raise StreamReset("it was emptied")
            return receiving.result()
        finally:
            receiving.cancel()
            resetting.cancel()

    async def ack(self, events: Sequence[Event]) -> None:
        await self._real.ack(events)


class Opening(Reader):
    def __init__(self, stream: MemoryEventStreamer) -> None:
        self._stream = stream
        self.resets = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[EventReceiver]:
        async with self._stream.receiver("topic", "me", shard=WHOLE) as receiver:
            yield Resettable(receiver, self.resets)

    def partitions(self) -> int:
        return self._stream.partitions("topic")

    def age(self, event: Event) -> float:
        return 0.0


class Running:
    """A consumer at work, until the context is left."""

    def __init__(self, work: Handling) -> None:
        self.work, self.stream = work, MemoryEventStreamer()
        self.rewinds = Rewinds("w", SafeLogger(logging.getLogger("test")))
        self.opening = Opening(self.stream)

    async def __aenter__(self) -> Self:
        self.consumer = Consumer(
            self.work,
            self.opening,
            workflow_name="w",
            name="me",
            shard=WHOLE,
            slots=4,
            rewinds=self.rewinds,
            metrics=Metrics().process("w", "me"),
            logger=SafeLogger(logging.getLogger("test")),
        )
        self.term = LeaseTerm(MemoryLease(1, unclean=False), 0.0)
        self.task = asyncio.ensure_future(self.consumer.run(self.term))
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


def test_a_version_that_is_committed_during_a_handling_is_handled_next_without_its_event() -> None:
    """The lane goes on at once: the event of a version that is made here may come much later."""

    async def main() -> None:
        work = Handling(hangs=1)
        async with Running(work) as at:
            await asyncio.sleep(1)
            at.consumer.offer(record("hangs", 1))
            await asyncio.sleep(1)
            for version in (2, 3):
                at.consumer.offer(record("hangs", version))
            await asyncio.sleep(1)
            assert work.handled == [("hangs", 1)]
            work.let_go.set()
            await asyncio.sleep(1)
            assert work.handled == [("hangs", 1), ("hangs", 3)]

    virtually(main())


def test_what_the_sweeper_sends_is_judged_by_the_store_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The store was replaced by an older state of itself: what this consumer has finished is to be done again."""

    async def main() -> None:
        async with Running(Handling(run=5, other=3)) as at:
            await at.stream.send([event("run", 5), event("other", 3)])
            await asyncio.sleep(1)
            assert at.work.handled == [("run", 5), ("other", 3)]
            at.work.records.update(run=record("run", 4), other=record("other", 2))
            await at.stream.send([event("run", 4)])
            await asyncio.sleep(1)
            assert len(at.work.handled) == 2, "it is known to be finished"
            await at.stream.send([msgspec.structs.replace(event("run", 4), swept=True)])
            await asyncio.sleep(1)
            assert at.work.handled[2:] == [("run", 4)]
            await at.stream.send([event("other", 2)])
            await asyncio.sleep(1)
            assert at.work.handled[3:] == [("other", 2)], "one run is enough to know that nothing remembered counts"
            assert await at.unread() == 0

    virtually(main())
    reported = [record.message for record in caplog.records if "went back in time" in record.message]
    assert len(reported) == 1, caplog.text
    assert "'run' was at version 5, and is at 4 now" in reported[0]


def test_a_handler_that_ends_after_the_store_went_back_finishes_nothing() -> None:
    async def main() -> None:
        work = Handling(hangs=5)
        async with Running(work) as at:
            await at.stream.send([event("hangs", 5)])
            await asyncio.sleep(1)
            at.rewinds.noticed("its commit met version 4")
            work.let_go.set()
            await asyncio.sleep(1)
            work.records["hangs"] = record("hangs", 4)
            await at.stream.send([event("hangs", 4)])
            await asyncio.sleep(1)
            assert work.handled == [("hangs", 5), ("hangs", 4)]

    virtually(main())


def test_a_stream_that_was_reset_is_opened_again_and_nothing_remembered_counts() -> None:
    async def main() -> None:
        async with Running(Handling(run=5)) as at:
            await at.stream.send([event("run", 5)])
            await asyncio.sleep(1)
            at.work.records["run"] = record("run", 4)
            at.opening.resets.set()
            await at.stream.send([event("run", 4)])
            await asyncio.sleep(3)
            assert at.work.handled == [("run", 5), ("run", 4)]
            assert at.rewinds.hurry

    virtually(main())
