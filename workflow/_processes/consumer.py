"""Consumes the events of one topic for one shard: many runs at once, each run one at a time.

How it works. Three loops run while the receiver is open. `_read` takes events from the receiver and gives each a
ticket; a finished ticket lets the partition's low-water mark rise. `_dispatch` looks up, in one batch, the records of
as many waiting tickets as there are free slots, and judges each event against its record. The third acknowledges.
A run that is being handled is in `_running`; news of it waits in its `_Handling`: tickets of the same version are
finished with it, later ones (`later`) are judged again afterwards, and a later version that this process committed
itself (`follow`) is handled next without asking the store.

Owns delivery and nothing else: which versions are handled, joined, dropped or left for later, and which events may be
acknowledged. What handling means is the caller's: a `Work` judges an event against its record and handles the record.

A version reaches the consumer on two ways, in memory through the fast lane and durably through the stream. Whichever
comes first is handled; the other joins it. Only finished events are acknowledged.
"""

import asyncio
import contextvars
from collections import deque

import anyio

from .._engine.in_flight import Busy, Handler
from .._engine.log import SafeLogger
from .._engine.metrics import ProcessMetrics
from .._engine.rewinds import Rewinds
from .._engine.wake import first_of
from .._model.event import Event
from .._model.record import Record
from .._model.shard import Shard, partition_of
from ..errors import StreamReset, WorkflowError
from ..protocols import EventReceiver
from .acknowledger import Acknowledger
from .finished_versions import FinishedVersions
from .lease_term import LeaseTerm, end
from .stream_reader import Reader
from .watermark import Ticket
from .work import Work

READ = 1000
"""Events read at once, and events that may wait for a slot before reading stops."""
REREADS = (0.05, 0.2, 1.0)
"""Seconds between looks at a record that seems older than its event (a store that lags behind the stream)."""
REOPEN = 1.0
"""Seconds before a stream that failed is read again."""


class _Handling:
    """One run that is being looked up or handled: its version, and the tickets that wait for the result."""

    __slots__ = ("began", "follow", "later", "tickets", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        # Tuples, because most stay empty: two lists a run are work for the garbage collector.
        self.tickets: tuple[Ticket, ...] = ()
        self.later: tuple[Ticket, ...] = ()
        self.follow: Record | None = None
        self.began: float | None = None


class Consumer:
    """One shard's reading of one topic, while its role is held.

    Args:
        reader: opens the receiver; called again after an error of the stream.
        name: the consumer's name; events addressed to another consumer are dropped.
        slots: runs handled at the same time.
        rewinds: told of a store that went back in time.
        metrics, logger: for skips, latencies and errors.
    """

    def __init__(
        self,
        work: Work,
        reader: Reader,
        *,
        workflow_name: str,
        name: str,
        shard: Shard,
        slots: int,
        rewinds: Rewinds,
        metrics: ProcessMetrics,
        logger: SafeLogger,
    ) -> None:
        self._work, self._reader = work, reader
        self._workflow_name, self._name = workflow_name, name
        self._shard, self._slots = shard, slots
        self._partitions = 1
        self._metrics, self._logger = metrics, logger
        self._running: dict[str, _Handling] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: deque[Ticket] = deque()
        self._done = FinishedVersions()
        self._rewinds = rewinds
        self._acks = Acknowledger()
        self._work_waits = asyncio.Event()
        self._room = asyncio.Event()
        self._open = False
        # Asking for the running loop costs a system call each time.
        self._loop = asyncio.get_running_loop()
        # The context in which the workflow was started. A handling begins wherever a version was committed, perhaps
        # in the request of a stranger: its context variables must not reach the handler.
        self._context = contextvars.copy_context()

    # -- the lane --------------------------------------------------------------------------------------------

    def owns(self, run_id: str) -> bool:
        """True if the run's partition belongs to this shard."""
        return self._shard.total == 1 or self._shard.owns(partition_of(run_id, self._partitions))

    def offer(self, record: Record) -> None:
        """Handle a version committed by this process, if it is free and nothing received waits for a slot."""
        if not self._open:
            return
        handling = self._running.get(record.run_id)
        if handling is not None:
            if record.version > handling.version:
                handling.follow = record
        elif self._free() > 0 and not self._waiting and not self._done.includes(record.run_id, record.version):
            self._start(record, _Handling(record.version))

    def busy(self) -> Busy:
        """What is not finished; may be called by another thread."""
        now = self._loop.time()
        running = list(self._running.items())
        handlers = [Handler(run_id, one.began) for run_id, one in running if one.began is not None]
        lag = max((now - handler.began for handler in handlers), default=0.0)
        events = [ticket.event for ticket in list(self._waiting)]
        events += [ticket.event for _, one in running for ticket in (*one.tickets, *one.later)]
        if events:
            lag = max(lag, self._reader.age(min(events, key=lambda event: event.created_at)))
        return Busy(lag, handlers)

    # -- life ------------------------------------------------------------------------------------------------

    async def run(self, term: LeaseTerm) -> None:
        """Consume until the role must be given up, then let handlers finish within the drain time.

        An error of the stream opens the receiver anew; handlers in flight go on meanwhile.
        """
        try:
            with self._rewinds.told(self._done.clear):
                await self._reopen(term)
            await term.drain(self._tasks)
        finally:
            with anyio.CancelScope(shield=True):
                await end(self._tasks)

    async def _reopen(self, term: LeaseTerm) -> None:
        while not term.draining.is_set():
            try:
                async with self._reader.open() as receiver:
                    await self._consume(receiver, term)
                    await term.drain(self._tasks)
                    await self._acks.acknowledge(receiver)
            except WorkflowError as error:
                if isinstance(error, StreamReset):
                    self._rewinds.noticed(str(error))
                self._metrics.error()
                self._logger.warning("the stream failed, reading starts again: %s", error)
                await first_of(term.draining, at_most=REOPEN)

    async def _consume(self, receiver: EventReceiver, term: LeaseTerm) -> None:
        # Events of an earlier receiver that were not started come again.
        self._waiting.clear()
        self._acks.reset()
        self._partitions = self._reader.partitions()
        self._open = True
        draining = asyncio.ensure_future(term.draining.wait())
        loops = [
            asyncio.ensure_future(loop) for loop in (self._read(receiver), self._dispatch(), self._acks.run(receiver))
        ]
        try:
            await asyncio.wait([draining, *loops], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open = False
            with anyio.CancelScope(shield=True):
                await end([draining, *loops])
        for loop in loops:
            if not loop.cancelled():
                loop.result()

    async def _read(self, receiver: EventReceiver) -> None:
        self._room.set()
        while True:
            await self._room.wait()
            events = await receiver.receive(READ)
            for event in events:
                self._take(self._acks.begin(event))
            self._acks.finished_something()
            if len(self._waiting) >= READ:
                self._room.clear()

    # -- received events -------------------------------------------------------------------------------------

    def _take(self, ticket: Ticket) -> None:
        event = ticket.event
        if event.workflow_name != self._workflow_name or (event.consumer and event.consumer != self._name):
            self._metrics.skipped("filtered out")
            ticket.finish()
            return
        if not event.swept and self._done.includes(event.run_id, event.version):
            ticket.finish()
            return
        handling = self._running.get(event.run_id)
        if handling is None:
            self._waiting.append(ticket)
            self._work_waits.set()
        elif event.version > handling.version:
            handling.later += (ticket,)
        else:
            # Same or older version: acknowledge it when the running handler ends.
            handling.tickets += (ticket,)

    def _free(self) -> int:
        return self._slots - len(self._running)

    async def _dispatch(self) -> None:
        """Look up, in batches, the records of received events for which there is a slot."""
        while True:
            await self._work_waits.wait()
            self._work_waits.clear()
            while self._waiting and self._free() > 0:
                claimed = self._claim()
                if len(self._waiting) < READ:
                    self._room.set()
                if claimed:
                    await self._look_up(claimed)

    def _claim(self) -> list[tuple[Event, _Handling]]:
        claimed = []
        for _ in range(min(self._free(), len(self._waiting))):
            ticket = self._waiting.popleft()
            event = ticket.event
            if event.run_id in self._running or (not event.swept and self._done.includes(event.run_id, event.version)):
                self._take(ticket)
                continue
            handling = self._running[event.run_id] = _Handling(event.version)
            handling.tickets = (ticket,)
            claimed.append((event, handling))
        return claimed

    async def _look_up(self, claimed: list[tuple[Event, _Handling]]) -> None:
        try:
            try:
                records = await self._records([event.run_id for event, _ in claimed])
            except WorkflowError as error:
                self._report(error, claimed[0][0].run_id)
                await asyncio.sleep(REREADS[-1])
                for event, handling in claimed:
                    self._again(event.run_id, handling)
                return
        except asyncio.CancelledError:
            # Also while waiting after an error: a slot that is not given back is lost for good.
            for event, _ in claimed:
                del self._running[event.run_id]
            raise
        for event, handling in claimed:
            record = records.get(event.run_id)
            if record is not None and record.version < event.version:
                self._track(self._reread(event, handling))
            else:
                self._judge(event, handling, record)

    async def _records(self, run_ids: list[str]) -> dict[str, Record]:
        """The records; one that does not decode is reported and left out, so that it does not keep the others."""
        try:
            return await self._work.lookup(run_ids)
        except WorkflowError:
            raise
        except Exception as error:  # noqa: BLE001 - reported
            if len(run_ids) == 1:
                self._report(error, run_ids[0])
                return {}
            found = [await self._records([run_id]) for run_id in run_ids]
            return {run_id: record for one in found for run_id, record in one.items()}

    def _judge(self, event: Event, handling: _Handling, record: Record | None) -> None:
        if record is not None and record.version < (last := self._done.last(event.run_id)):
            self._rewinds.noticed(f"run {event.run_id!r} was at version {last}, and is at {record.version} now")
        reason = self._work.judge(event, record)
        if reason is None and record is not None:
            handling.version = record.version
            self._start(record, handling)
            return
        if reason:
            self._metrics.skipped(reason)
        # A run that is not there may appear: the store was restored, or lags.
        self._settle(event.run_id, handling, for_good=record is not None)

    async def _reread(self, event: Event, handling: _Handling) -> None:
        """An event ahead of its record: look again shortly; then report it, and leave the run to the sweeper."""
        record: Record | None = None
        for wait in REREADS:
            await asyncio.sleep(wait)
            try:
                record = (await self._work.lookup([event.run_id])).get(event.run_id)
            except WorkflowError as error:
                self._report(error, event.run_id)
                self._again(event.run_id, handling)
                return
            if record is None or record.version >= event.version:
                self._judge(event, handling, record)
                return
        self._metrics.error()
        self._logger.error(
            "stale record lookup: record version %s is lower than event version %d",
            record.version if record else None,
            event.version,
            extra={"run_id": event.run_id, "foreign_id": event.foreign_id},
        )
        self._rewinds.noticed(f"an event says that run {event.run_id!r} was at version {event.version}")
        self._settle(event.run_id, handling, for_good=False)

    # -- handling --------------------------------------------------------------------------------------------

    def _start(self, record: Record, handling: _Handling) -> None:
        self._running[record.run_id] = handling
        self._track(self._handle(record, handling))

    def _track(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = self._loop.create_task(work, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, record: Record, handling: _Handling) -> None:
        loop = self._loop
        handling.began = began = loop.time()
        for ticket in handling.tickets:
            ticket.since = began
        attempt = handling.tickets[-1].event.attempt if handling.tickets else 1
        known, signs = len(handling.tickets), self._rewinds.signs
        try:
            for_good = await self._work.handle(record, attempt) and signs == self._rewinds.signs
        except Exception as error:  # noqa: BLE001 - one run's trouble must not stop its shard; reported and retried
            self._report(error, record.run_id)
            await asyncio.sleep(REREADS[-1])
            self._again(record.run_id, handling)
            return
        self._metrics.latency(loop.time() - began)
        if not for_good:
            # One that joined meanwhile may be the very event that was to come: it is handled in its turn.
            handling.later = handling.tickets[known:] + handling.later
            handling.tickets = handling.tickets[:known]
        self._settle(record.run_id, handling, for_good=for_good)

    def _settle(self, run_id: str, handling: _Handling, *, for_good: bool = True) -> None:
        """Finish the tickets of this version, remember that it is done, and go on with what came meanwhile."""
        if for_good:
            self._done.add(run_id, handling.version)
        for ticket in handling.tickets:
            ticket.finish()
        if handling.tickets:
            self._acks.finished_something()
        self._leave(run_id, handling)

    def _again(self, run_id: str, handling: _Handling) -> None:
        """This version could not be dealt with: its events wait again; the lane's copy is dropped."""
        handling.later = handling.tickets + handling.later
        handling.follow = None
        self._leave(run_id, handling)

    def _leave(self, run_id: str, handling: _Handling) -> None:
        del self._running[run_id]
        follow = handling.follow
        if follow is not None and self._open and not self._waiting and not self._done.includes(run_id, follow.version):
            next_handling = _Handling(follow.version)
            self._start(follow, next_handling)
        for ticket in handling.later:
            self._take(ticket)
        if self._waiting:
            self._work_waits.set()

    def _report(self, error: Exception, run_id: str) -> None:
        self._metrics.error()
        self._logger.error("could not handle a run: %s", error, exc_info=error, extra={"run_id": run_id})
