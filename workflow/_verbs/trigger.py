"""Starts a run."""

from datetime import datetime
from typing import Any

from .. import _arguments
from .._engine.commits import VERB_DEADLINE
from .._engine.engine import Engine
from .._model.change import NewVersion, Verdict
from .._model.record import VersionCause
from ..errors import Conflict, WorkflowInProgress
from .call_site import trace_origin


async def trigger(
    engine: Engine,
    foreign_id: str,
    initial_value: Any,
    *,
    starting_point: Any,
    run_id: str | None,
    start_at: datetime | None,
    actor: str = "",
) -> str:
    """Start a run and return its run ID, once it is durable; see `Workflow.trigger`."""
    _arguments.text("foreign_id", foreign_id)
    if start_at is not None:
        _arguments.moment("start_at", start_at)
    _arguments.text("actor", actor, empty=True)
    status = engine.definition.starting_point
    if starting_point is not None:
        status = engine.definition.checked(starting_point)
    given = run_id is not None
    if run_id is None:
        run_id = engine.ids.run_id()
    _arguments.text("run_id", run_id)
    first = engine.transitions.triggered(
        foreign_id=foreign_id,
        run_id=run_id,
        status=status,
        data=engine.initial(initial_value, run_id),
        # The run ID is the attempt id: the same trigger sent twice is one run.
        stamp=engine.stamp(VersionCause.TRIGGER, attempt_id=run_id, actor=actor),
        start_at=start_at,
        trace_origin=trace_origin(),
        trace_context=engine.tracing.inject(),
    )
    await _start(engine, first, given)
    return run_id


async def _start(engine: Engine, first: NewVersion, given: bool) -> None:
    record = first.record
    outcome = await engine.commits.apply(first, VERB_DEADLINE)
    if outcome.verdict is Verdict.IN_PROGRESS:
        live = outcome.record.run_id if outcome.record is not None else None
        raise WorkflowInProgress(engine.name, record.foreign_id, live)
    if outcome.verdict is Verdict.ALREADY_APPLIED and given:
        present = await engine.find(record.run_id)
        if present is not None and (present.workflow_name, present.foreign_id) != (engine.name, record.foreign_id):
            raise Conflict(record.run_id, present.version)
    elif not outcome.ok:
        raise Conflict(record.run_id, outcome.record.version if outcome.record is not None else 0)
