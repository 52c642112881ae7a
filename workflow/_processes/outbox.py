"""The relay: moves events from the outbox to the stream, in order, and removes them when they are durable there.

It sleeps until a wake-up, the next due time, or its safety net. An event that the stream refuses for good goes to the
dead letters, so that the others go on; a crash between sending and removing repeats events, which is harmless.
"""

import asyncio
from collections.abc import Sequence

import anyio
import msgspec

from .._engine.engine import Engine
from .._engine.in_flight import OpenEvents
from .._engine.wake import Wake
from .._model import topology
from .._model.dead_letter import DeadLetter
from .._model.event import Event, OutboxEvent
from ..errors import EventsRefused
from ..protocols import WakeUp
from .lease_term import LeaseTerm, end
from .supervisor import Process
from .wake_ups import listen


def outbox_process(engine: Engine) -> Process:
    """The process that relays the workflow's events."""
    options = engine.settings.outbox_options
    name = topology.joined("outbox", "consumer")
    return Process(
        name=name,
        role=topology.role(engine.name, name),
        body=_Relay(engine, name).run,
        back_off=options.err_back_off,
    )


class _Relay:
    def __init__(self, engine: Engine, process: str) -> None:
        self._engine, self._process = engine, process
        self._options = engine.settings.outbox_options
        self._metrics = engine.metrics.process(engine.name, process)
        self._open = OpenEvents(engine.clock)

    async def run(self, term: LeaseTerm) -> None:
        """Relay until the role must be given up."""
        wake = Wake(self._engine.clock)
        engine = self._engine
        helpers = [
            asyncio.ensure_future(listen(engine.records, WakeUp.OUTBOX, engine.name, wake)),
            asyncio.ensure_future(self._watch(wake, term)),
        ]
        unwatch = engine.in_flight.watch(
            self._process, self._open.busy, lag_alert=self._options.lag_alert, timeout=None
        )
        try:
            while not term.draining.is_set():
                wake.clear()
                page = await self._engine.records.list_outbox(
                    self._engine.name, now=self._engine.now(), limit=self._options.limit
                )
                if page.events:
                    await self._send(page.events)
                elif not term.draining.is_set():
                    await wake.sleep(until=page.next_due, at_most=self._options.polling_frequency)
        finally:
            unwatch()
            with anyio.CancelScope(shield=True):
                await end(helpers)

    async def _watch(self, wake: Wake, term: LeaseTerm) -> None:
        await term.draining.wait()
        wake.set()

    async def _send(self, waiting: Sequence[OutboxEvent]) -> None:
        engine = self._engine
        began = asyncio.get_running_loop().time()
        # The oldest of a page is its first; it shows how late it is for as long as it is being sent.
        oldest = self._open.begin(waiting[0].event.run_id, waiting[0].event.created_at)
        try:
            try:
                await engine.stream.send([one.event for one in waiting])
            except EventsRefused as refusal:
                await self._put_aside([waiting[index] for index in refusal.indexes], refusal.why)
            await engine.records.delete_outbox([one.id for one in waiting])
        finally:
            self._open.end(oldest)
        self._metrics.latency(asyncio.get_running_loop().time() - began)

    async def _put_aside(self, refused: Sequence[OutboxEvent], why: str) -> None:
        engine = self._engine
        self._metrics.error()
        engine.logger.error(
            "%d events refused by the stream: %s", len(refused), why, extra={"process_name": self._process}
        )
        await engine.records.add_dead_letters([self._letter(one.event, why) for one in refused])

    def _letter(self, event: Event, why: str) -> DeadLetter:
        return DeadLetter(
            workflow_name=event.workflow_name,
            source="outbox",
            run_id=event.run_id,
            data=msgspec.json.encode(event),
            reason=why,
            created_at=self._engine.now(),
        )
