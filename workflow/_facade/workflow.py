"""A built workflow: running it, starting runs and calling them back; further verbs are in its bases."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Self

import anyio

from .. import _arguments
from .._declare.handlers import Filter, Handler, ScheduleDeclaration
from .._declare.signature import signature_problem
from .._engine.engine import Engine
from .._model.run import ObjectT, Run, StatusT
from .._processes.lifecycle import Lifecycle
from .._processes.schedule import Scheduled, Trigger
from .._processes.supervisor import DRAIN, ProcessState
from .._verbs.callback import call_back
from .._verbs.trigger import trigger
from .reading import Reading
from .steering import Steering
from .waiting import Waiting


class Workflow(Steering[ObjectT, StatusT], Waiting[ObjectT, StatusT], Reading[ObjectT, StatusT]):
    """A workflow on its backend. Made by `Builder.build`.

    Every verb but `run` also works in a process that does not run the workflow's consumers.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._life = Lifecycle(engine, self)

    # -- running ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the workflow's processes until `stop()` or until the calling task is cancelled.

        Cancellation stops handlers at once (their attempts do not count) and releases roles. No signal handlers are
        installed. A second call while it runs waits for the first to end; after a stop it may be run again.

        Raises:
            BackendNotOpen: the backend was not entered, or was left while the workflow ran.
        """
        await self._life.run([self._scheduled(declared) for declared in self._engine.definition.schedules])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Run the workflow inside a context; draining it stops the workflow and lets handlers finish.

        Leaving because of an error stops handlers at once.
        """
        task = asyncio.get_running_loop().create_task(self.run(), name=f"workflow-{self.name}")
        launched = asyncio.ensure_future(self._launched())
        try:
            await asyncio.wait([task, launched], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                yield self
                await self.stop()
        finally:
            launched.cancel()
            task.cancel()
            with anyio.CancelScope(shield=True), suppress(asyncio.CancelledError):
                await task

    async def stop(self, drain: timedelta = DRAIN) -> None:
        """Take nothing new, let handlers in flight finish for at most `drain`, release all roles, and return.

        Harmless when the workflow is not running, and when called again.
        """
        _arguments.duration("drain", drain)
        await self._life.stop(drain)

    def states(self) -> dict[str, ProcessState]:
        """What each process is doing, by name; empty before the first run. A copy."""
        return self._life.states()

    async def _launched(self) -> None:
        # One turn lets run() make the event of this run.
        await asyncio.sleep(0)
        await self._life.launched.wait()

    # -- starting runs ---------------------------------------------------------------------------------------

    async def trigger(
        self,
        foreign_id: str,
        initial_value: ObjectT | None = None,
        *,
        starting_point: StatusT | None = None,
        run_id: str | None = None,
        start_at: datetime | None = None,
        actor: str = "",
    ) -> str:
        """Start a run for `foreign_id` and return its run ID, once it is durable.

        Args:
            foreign_id: the business key; one live run each.
            initial_value: the object; left out, `object_type()`.
            starting_point: the first status; left out, the workflow's.
            run_id: makes the call idempotent: triggering the same run ID again is the same run.
            start_at: when its first step may run; left out, at once.
            actor: who starts it; kept with the first version.

        Raises:
            WorkflowInProgress: a live run holds the foreign ID.
            StatusNotConfigured: the starting point is not in the graph.
            InvalidObject: the initial value cannot be encoded, or could not be decoded again by a handler.
            Conflict: `run_id` is another run's, of another workflow or foreign ID.
            Unavailable, OutcomeUnknown: the store could not be reached in time.
        """
        return await trigger(
            self._engine,
            foreign_id,
            initial_value,
            starting_point=starting_point,
            run_id=run_id,
            start_at=start_at,
            actor=actor,
        )

    async def schedule(
        self,
        foreign_id: str,
        spec: str,
        *,
        timezone: str = "UTC",
        initial_value: ObjectT | None = None,
        filter: Filter | None = None,  # noqa: A002 - the field's own word
    ) -> None:
        """Trigger `foreign_id` at the times of a cron spec, once for each, until the workflow stops.

        Inside `running()` the schedule is a process of the workflow, and the call returns when the workflow stops;
        cancelling the call leaves the schedule running. Elsewhere it runs until the call is cancelled. So do not await
        it where a service starts: declare the schedule with `Builder.schedule`, or give the call a task of its own.

        Args:
            spec: five cron fields, a descriptor such as `@hourly`, or `@every 1h30m`.
            timezone: whose wall clock the fields speak of. A time that the clock skips is run at the shifted time, one
                that it repeats is run once, the first time.
            filter: asked at each time; False skips it. An error is no answer: it is asked again.

        Raises:
            ScheduleError: the spec or the time zone cannot be used.
            InvalidObject: the initial value cannot be stored.
        """
        _arguments.text("foreign_id", foreign_id)
        self._engine.initial(initial_value, None)
        if filter is not None and (problem := signature_problem(filter)) is not None:
            raise TypeError(f"filter: {problem}")
        asked = None if filter is None else Handler.of(filter)
        await self._life.schedule(
            *self._scheduled(ScheduleDeclaration(foreign_id, spec, timezone, initial_value, asked))
        )

    def _scheduled(self, declared: ScheduleDeclaration) -> tuple[Scheduled, Trigger]:
        async def start(run_id: str) -> str:
            return await self.trigger(declared.foreign_id, declared.initial_value, run_id=run_id)

        return Scheduled.of(declared), start

    # -- calling back -----------------------------------------------------------------------------------------

    async def callback(
        self,
        foreign_id: str,
        status: StatusT,
        payload: object = b"",
        *,
        run_id: str | None = None,
        actor: str = "",
    ) -> Run[ObjectT, StatusT]:
        """Call the callbacks of `status` for the live run of `foreign_id` (or for `run_id`), and commit the results.

        Args:
            payload: bytes are handed on as they are; any other object (a model, dataclass, struct, dict, list or
                number) is written as JSON.
            actor: who calls; kept with the version.

        Returns:
            The run as the callbacks left it.

        Raises:
            NotWaiting: the run is not at that status, or is paused or finished; says where it is.
            InvalidPayload: the payload is not what a callback's annotation says. Nothing is changed.
            RecordNotFound: there is no such run.
            StatusNotConfigured: the workflow has no callback on that status.
            Conflict: the run was moved again and again meanwhile.
            Unavailable, OutcomeUnknown: the store could not be reached in time.
            Exception: whatever the callback raised; nothing is changed then.
        """
        _arguments.ids(foreign_id, run_id)
        _arguments.text("actor", actor, empty=True)
        return self._reading(await call_back(self._engine, foreign_id, status, payload, run_id, actor))

    def __repr__(self) -> str:
        return f"<Workflow {self.name!r}>"
