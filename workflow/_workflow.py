"""The public face of a built workflow: its verbs, and running it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Generic

import anyio

from . import _arguments
from ._declare.handlers import Handler, ScheduleDeclaration
from ._declare.signature import signature_problem
from ._engine.commits import VERB_DEADLINE
from ._engine.engine import Engine
from ._model.change import NewVersion, Verdict
from ._model.query import DEFAULT_LIMIT, Order
from ._model.record import Meta, Record
from ._model.run import ObjectT, Run, StatusT
from ._model.run_state import RunState
from ._processes.lifecycle import Lifecycle
from ._processes.schedule import Scheduled, Trigger
from ._processes.supervisor import DRAIN, ProcessState
from ._processes.timeouts_fire import rearm_timers
from ._verbs.call_site import trace_origin
from ._verbs.callback import call_back
from ._verbs.listing import query, with_objects
from ._verbs.wait_for import wait_for
from .errors import Conflict, RecordNotFound, WaitTimeout, WorkflowInProgress

CONFLICTS = 20
"""How often a verb reads a run again that others keep moving, before it raises `Conflict`."""


class Workflow(Generic[ObjectT, StatusT]):
    """A workflow on its backend. Made by `Builder.build`.

    Every verb but `run` also works in a process that does not run the workflow's consumers.
    """

    def __init__(self, engine: Engine[ObjectT, StatusT]) -> None:
        self._engine = engine
        self._life = Lifecycle(engine, self)

    @property
    def name(self) -> str:
        """The workflow's name."""
        return self._engine.name

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
    async def running(self) -> AsyncIterator["Workflow[ObjectT, StatusT]"]:
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
    ) -> str:
        """Start a run for `foreign_id` and return its run ID, once it is durable.

        Args:
            foreign_id: the business key; one live run each.
            initial_value: the object; left out, `object_type()`.
            starting_point: the first status; left out, the workflow's.
            run_id: makes the call idempotent: triggering the same run ID again is the same run.
            start_at: when its first step may run; left out, at once.

        Raises:
            WorkflowInProgress: a live run holds the foreign ID.
            StatusNotConfigured: the starting point is not in the graph.
            InvalidObject: the initial value cannot be encoded, or could not be decoded again by a handler.
            Conflict: `run_id` is another run's, of another workflow or foreign ID.
            Unavailable, OutcomeUnknown: the store could not be reached in time.
        """
        _arguments.text("foreign_id", foreign_id)
        if start_at is not None:
            _arguments.moment("start_at", start_at)
        engine = self._engine
        status = engine.definition.starting_point
        if starting_point is not None:
            status = engine.definition.checked(starting_point)
        given = run_id is not None
        if run_id is None:
            run_id = engine.ids.run_id()
        _arguments.text("run_id", run_id)
        move = engine.transitions.triggered(
            foreign_id=foreign_id,
            run_id=run_id,
            status=status,
            data=engine.initial(initial_value, run_id),
            now=engine.now(),
            start_at=start_at,
            meta=Meta(trace_origin=trace_origin(), trace_context=engine.tracing.inject()),
        )
        await self._start(move, given)
        return run_id

    async def _start(self, move: NewVersion, given: bool) -> None:
        engine, record = self._engine, move.record
        outcome = await engine.commits.apply(move, VERB_DEADLINE)
        if outcome.verdict is Verdict.IN_PROGRESS:
            live = outcome.record.run_id if outcome.record is not None else None
            raise WorkflowInProgress(self.name, record.foreign_id, live)
        if outcome.verdict is Verdict.ALREADY_APPLIED and given:
            present = (await engine.records.lookup([record.run_id])).get(record.run_id)
            if present is not None and (present.workflow_name, present.foreign_id) != (self.name, record.foreign_id):
                raise Conflict(record.run_id, present.version)
        elif not outcome.ok:
            raise Conflict(record.run_id, outcome.record.version if outcome.record is not None else 0)

    async def schedule(
        self,
        foreign_id: str,
        spec: str,
        *,
        timezone: str = "UTC",
        initial_value: ObjectT | None = None,
        filter: Callable[[], Any] | None = None,  # noqa: A002 - the field's own word
    ) -> None:
        """Trigger `foreign_id` at the times of a cron spec, once for each, until the workflow stops.

        Inside `running()` the schedule is a process of the workflow, and the call returns when the workflow stops;
        cancelling the call leaves the schedule running. Elsewhere it runs until the call is cancelled.

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
        async def trigger(run_id: str) -> str:
            return await self.trigger(declared.foreign_id, declared.initial_value, run_id=run_id)

        return Scheduled.of(declared), trigger

    # -- moving runs -----------------------------------------------------------------------------------------

    async def callback(
        self, foreign_id: str, status: StatusT, payload: bytes = b"", *, run_id: str | None = None
    ) -> None:
        """Call the callbacks of `status` for the live run of `foreign_id` (or for `run_id`), and commit what they say.

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
        await call_back(self._engine, foreign_id, status, payload, run_id)

    async def pause(self, run_id: str, reason: str = "") -> None:
        """Pause a live run: nothing but resume and cancel moves it until then.

        Raises:
            RecordNotFound, InvalidRunState, Conflict, Unavailable, OutcomeUnknown.
        """
        await self._stop_run(run_id, RunState.PAUSED, reason)

    async def resume(self, run_id: str) -> None:
        """Let a paused run go on: its step is tried again, its attempts counted from 1.

        Raises:
            RecordNotFound, InvalidRunState, Conflict, Unavailable, OutcomeUnknown.
        """
        engine = self._engine
        move = await self._change(run_id, lambda r, aid: engine.transitions.resumed(r, engine.now(), aid))
        await rearm_timers(engine, move.record)

    async def cancel(self, run_id: str, reason: str = "") -> None:
        """Cancel a live run for good.

        Raises:
            RecordNotFound, InvalidRunState, Conflict, Unavailable, OutcomeUnknown.
        """
        await self._stop_run(run_id, RunState.CANCELLED, reason)

    async def delete_data(self, run_id: str, reason: str = "") -> None:
        """Ask for a finished run's data to be erased; a process of the workflow does it soon after.

        Erases the object, error texts and traces, from the record, its history and what waits of it elsewhere; the
        audit of transitions stays.

        Raises:
            RecordNotFound, InvalidRunState, Conflict, Unavailable, OutcomeUnknown.
        """
        transitions, engine = self._engine.transitions, self._engine
        _arguments.text("reason", reason, most=None, empty=True)
        await self._change(run_id, lambda r, aid: transitions.deletion_requested(r, reason, engine.now(), aid))

    async def _stop_run(self, run_id: str, wanted: RunState, reason: str) -> None:
        transitions, engine = self._engine.transitions, self._engine
        _arguments.text("reason", reason, most=None, empty=True)
        await self._change(run_id, lambda r, aid: transitions.stopped(r, wanted, reason, engine.now(), aid))

    async def _change(self, run_id: str, build: Callable[[Record, str], NewVersion]) -> NewVersion:
        """Read, build, compare and swap; again when the run was moved meanwhile."""
        engine = self._engine
        record = await self._lookup(run_id)
        for _ in range(CONFLICTS):
            move = build(record, engine.ids.attempt_id())
            outcome = await engine.commits.apply(move, VERB_DEADLINE)
            if outcome.ok:
                return move
            record = outcome.record or await self._lookup(run_id)
        raise Conflict(run_id, record.version)

    # -- reading runs ----------------------------------------------------------------------------------------

    async def wait_for(
        self, foreign_id: str, status: StatusT, *, run_id: str | None = None, timeout: timedelta | None = None
    ) -> Run[ObjectT, StatusT]:
        """The run, once it has reached `status`, or if it passed it before. Cancelling the wait changes nothing.

        Without `run_id` it is the latest run of the foreign ID, or the first to appear.

        Raises:
            WaitTimeout: it did not get there within `timeout`.
            RunFinished: it can no longer get there.
            RecordNotFound: there is no run with this `run_id`.
            StatusNotConfigured: the status is not in the graph.
        """
        _arguments.ids(foreign_id, run_id)
        number = self._engine.definition.checked(status)
        if timeout is None:
            return await wait_for(self._engine, foreign_id, number, run_id)
        _arguments.duration("timeout", timeout, least=None)
        limit = asyncio.timeout(timeout.total_seconds())
        try:
            async with limit:
                return await wait_for(self._engine, foreign_id, number, run_id)
        except TimeoutError:
            if not limit.expired():
                raise
            raise WaitTimeout(self.name, foreign_id, status, timeout, run_id) from None

    async def get(self, run_id: str) -> Run[ObjectT, StatusT]:
        """The run as it is now.

        Raises:
            RecordNotFound: this workflow has no such run.
        """
        return self._engine.reading(await self._lookup(run_id))

    async def latest(self, foreign_id: str) -> Run[ObjectT, StatusT]:
        """The live run of the foreign ID if there is one, else the one triggered last.

        Raises:
            RecordNotFound: the foreign ID never had a run.
        """
        _arguments.text("foreign_id", foreign_id)
        record = await self._engine.records.latest(self.name, foreign_id)
        if record is None:
            raise RecordNotFound(workflow_name=self.name, foreign_id=foreign_id)
        return self._engine.reading(record)

    async def list(
        self,
        *,
        foreign_ids: Sequence[str] = (),
        statuses: Sequence[StatusT] = (),
        run_states: Sequence[RunState] = (),
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        order: Order = Order.ASCENDING,
        offset: int = 0,
        limit: int = DEFAULT_LIMIT,
    ) -> Sequence[Run[ObjectT, StatusT]]:
        """Runs of this workflow in order of creation.

        Conditions are joined by AND, the values of one condition by OR; one left out or empty restricts nothing.

        Args:
            created_after, created_before: strictly after, strictly before.
            order: by creation.
            offset: how many of the filtered, ordered runs to leave out.
            limit: at most so many, at least 1.

        Raises:
            StatusNotConfigured: one of `statuses` is not a member of the workflow's enum.
        """
        asked = query(
            self._engine.definition,
            foreign_ids=foreign_ids,
            statuses=statuses,
            run_states=run_states,
            created_after=created_after,
            created_before=created_before,
            order=order,
            offset=offset,
            limit=limit,
        )
        return [self._engine.reading(record) for record in await self._engine.records.list(asked)]

    async def history(self, run_id: str) -> Sequence[Run[ObjectT, StatusT]]:
        """Every version of the run, oldest first. A failed attempt's version shows the object as it left it.

        Raises:
            RecordNotFound: this workflow has no such run.
        """
        _arguments.text("run_id", run_id)
        versions = await self._engine.records.history(run_id)
        if not versions or versions[0].workflow_name != self.name:
            raise RecordNotFound(run_id=run_id, workflow_name=self.name)
        return [self._engine.reading(version) for version in with_objects(versions)]

    async def _lookup(self, run_id: str) -> Record:
        _arguments.text("run_id", run_id)
        record = (await self._engine.records.lookup([run_id])).get(run_id)
        if record is None or record.workflow_name != self.name:
            raise RecordNotFound(run_id=run_id, workflow_name=self.name)
        return record

    def __repr__(self) -> str:
        return f"<Workflow {self.name!r}>"
