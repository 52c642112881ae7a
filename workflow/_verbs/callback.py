"""An outside caller moves a run that waits at a status: synchronously, in the caller's task."""

from typing import Any

from .._declare.codec import describe, encode_payload
from .._declare.handlers import Callback
from .._engine.commits import VERB_DEADLINE
from .._engine.compare_and_swap import compare_and_swap
from .._engine.engine import Engine
from .._engine.results import interpret
from .._model.change import NewVersion
from .._model.record import Record, VersionCause
from .._model.run_state import RUNNABLE
from ..errors import InvalidPayload, NotWaiting, RecordNotFound, StatusNotConfigured

TRIES = 3
"""How often a callback's function runs for one call when the run is changed meanwhile but still waits there."""


async def call_back(
    engine: Engine, foreign_id: str, status: Any, payload: object, run_id: str | None, actor: str
) -> Record:
    """Run the callbacks of `status` in the order of declaration, until one moves the run away; the record then."""
    number = engine.definition.checked(status)
    callbacks = engine.definition.callbacks.get(number)
    if not callbacks:
        raise StatusNotConfigured(engine.name, status, "it has no callback")
    # Decode for all before any runs: a bad payload changes nothing.
    payloads = _decoded(engine, callbacks, foreign_id, status, payload)
    record = await _waiting(engine, foreign_id, run_id)
    moved = False
    for callback, value in zip(callbacks, payloads, strict=True):
        if moved and (record.status != number or record.run_state not in RUNNABLE):
            return record
        changed = await _call_one(engine, callback, value, record, status, actor)
        moved = moved or changed is not None
        record = changed or await _waiting(engine, foreign_id, record.run_id)
    return record


def _decoded(
    engine: Engine, callbacks: tuple[Callback, ...], foreign_id: str, status: Any, payload: object
) -> list[Any]:
    try:
        data = encode_payload(payload)
        return [callback.decode(data) for callback in callbacks]
    except Exception as error:
        raise InvalidPayload(engine.name, status, describe(error), foreign_id) from error


async def _waiting(engine: Engine, foreign_id: str, run_id: str | None) -> Record:
    record = await (engine.records.latest(engine.name, foreign_id) if run_id is None else engine.find(run_id))
    if record is None or record.workflow_name != engine.name or record.foreign_id != foreign_id:
        raise RecordNotFound(run_id=run_id, workflow_name=engine.name, foreign_id=foreign_id)
    return record


async def _call_one(
    engine: Engine, callback: Callback, payload: Any, record: Record, status: Any, actor: str
) -> Record | None:
    """Run one callback; the record as it left it, or None if it changed nothing."""

    async def called(present: Record) -> NewVersion | None:
        if present.status != callback.status or present.run_state not in RUNNABLE:
            raise NotWaiting(
                engine.name,
                present.foreign_id,
                present.run_id,
                status=engine.reading(present).status,
                wanted=status,
                run_state=present.run_state,
            )
        run = engine.handling(present)
        with engine.span("callback", present, root=False):
            result = await engine.invoker.call(callback.handler, run, payload)
        stamp = engine.stamp(VersionCause.CALLBACK, actor=actor)
        version = interpret(engine, present, run, result, callback.destinations, stamp)
        if version is None:
            engine.debug("skipping update", present, "callback")
        return version

    return await compare_and_swap(engine, record, called, tries=TRIES, patience=VERB_DEADLINE)
