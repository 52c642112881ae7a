"""Running a workflow: which processes it has, and how they start and stop together."""

import asyncio
from datetime import timedelta
from typing import Any

import anyio

from .._declare.handlers import statuses_of
from .._engine.engine import Engine
from .._engine.timer_writes import TimerWrites
from .connector import connector_processes
from .delete import delete_process
from .hook import hook_process
from .hung import report_hung
from .outbox import outbox_process
from .pause_retry import pause_retry_process
from .publish import publish
from .schedule import Scheduled, Trigger, schedule_process
from .step import step_processes
from .supervisor import Process, ProcessState, Supervisor
from .sweep import sweep_process
from .timeouts_arm import arming_process
from .timeouts_fire import TimeoutPoller


class Lifecycle:
    """One workflow, running or not. It may be run again after it stopped.

    Args:
        api: the public workflow; connectors are called with it.
    """

    def __init__(self, engine: Engine, api: object) -> None:
        self._engine, self._api = engine, api
        self._supervisor: Supervisor | None = None
        self._group: Any = None
        self._stopped = asyncio.Event()
        self.launched = asyncio.Event()

    def states(self) -> dict[str, ProcessState]:
        """What each process is doing, by name; empty before the first run."""
        return {} if self._supervisor is None else dict(self._supervisor.states)

    async def run(self, scheduled: "list[tuple[Scheduled, Trigger]]") -> None:
        """Run every process until `stop` or cancellation. A second call waits for the first to end.

        Raises:
            BackendNotOpen: the backend is not entered, or was left meanwhile.
        """
        if self._supervisor is not None and not self._stopped.is_set():
            await self._stopped.wait()
            return
        engine = self._engine
        supervisor = self._supervisor = self._new_supervisor()
        # Made anew, because an event belongs to the loop it was first waited for in.
        self._stopped, self.launched = asyncio.Event(), asyncio.Event()
        writes = TimerWrites(engine.timeouts) if engine.definition.timeouts else None
        poller = TimeoutPoller(engine, writes) if writes is not None else None
        try:
            async with anyio.create_task_group() as background:
                background.start_soon(publish, engine)
                background.start_soon(report_hung, engine)
                if poller is not None:
                    background.start_soon(poller.run)
                async with anyio.create_task_group() as group:
                    self._group = group
                    for process in self._processes(poller, writes):
                        self._launch(process)
                    for one, trigger in scheduled:
                        self._launch(schedule_process(engine, one, trigger))
                    # A task of its own keeps the group open while processes come and go.
                    group.start_soon(supervisor.stopping.wait)
                    self.launched.set()
                background.cancel_scope.cancel()
        finally:
            self._group = None
            try:
                with anyio.CancelScope(shield=True):
                    with anyio.move_on_after(FLUSH.total_seconds()):
                        await engine.commits.flush()
                        if writes is not None:
                            await writes.flush()
                    await engine.news.close()
            finally:
                # Whoever waits for the end must not wait for ever, also when this was cancelled a second time.
                self._stopped.set()
        if supervisor.failed is not None:
            raise supervisor.failed

    async def stop(self, drain: timedelta) -> None:
        """Stop every process and wait until all have shut down; a no-op if it is not running."""
        if self._supervisor is None or self._stopped.is_set():
            return
        self._supervisor.stop(drain)
        await self._stopped.wait()

    async def schedule(self, scheduled: Scheduled, trigger: Trigger) -> None:
        """Own a schedule while running; return when the workflow stops.

        Where the workflow is not running, the schedule runs in the caller's task until that is cancelled.
        """
        process = schedule_process(self._engine, scheduled, trigger)
        supervisor = self._supervisor
        if self._group is None or supervisor is None:
            supervisor = self._new_supervisor()
            await supervisor.keep_going(supervisor.announce(process))
            if supervisor.failed is not None:
                raise supervisor.failed
            return
        self._launch(process)
        await supervisor.finished(process.role)

    def _new_supervisor(self) -> Supervisor:
        engine = self._engine
        return Supervisor(engine.name, engine.roles, engine.metrics, engine.logger, debug=engine.settings.debug)

    def _launch(self, process: Process) -> None:
        """Keep the process going, once: a schedule may be asked for twice."""
        supervisor = self._supervisor
        assert supervisor is not None
        if not supervisor.knows(process.role):
            self._group.start_soon(supervisor.keep_going, supervisor.announce(process))

    def _processes(self, poller: TimeoutPoller | None, writes: TimerWrites | None) -> list[Process]:
        engine = self._engine
        definition, settings = engine.definition, engine.settings
        processes = [outbox_process(engine)] if settings.outbox else []
        for step in definition.steps.values():
            processes += step_processes(engine, step)
        if poller is not None and writes is not None:
            for status in statuses_of([timeout for of in definition.timeouts.values() for timeout in of]):
                processes += [poller.process(status), arming_process(engine, status, writes)]
        for connector in definition.connectors:
            processes += connector_processes(engine, connector, self._api)
        processes += [hook_process(engine, state, handler) for state, handler in definition.hooks.items()]
        processes.append(delete_process(engine))
        if settings.pause_retry is not None:
            processes.append(pause_retry_process(engine, settings.pause_retry))
        processes.append(sweep_process(engine))
        return processes


FLUSH = timedelta(seconds=5)
"""How long writes that have begun may take after the last process shut down."""
