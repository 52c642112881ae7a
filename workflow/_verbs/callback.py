"""An outside caller moves a run that waits at a status: synchronously, in the caller's task."""

from typing import Any

from .._declare.codec import describe
from .._declare.handlers import Callback
from .._engine.commits import VERB_DEADLINE
from .._engine.engine import Engine
from .._engine.results import interpret
from .._model.record import Record
from .._model.run_state import RUNNABLE
from ..errors import Conflict, InvalidPayload, NotWaiting, RecordNotFound, StatusNotConfigured

TRIES = 3
"""How often a callback's function runs for one call when the run is changed meanwhile but still waits there."""


async def call_back(engine: Engine[Any, Any], foreign_id: str, status: Any, payload: bytes, run_id: str | None) -> None:
    """Run the callbacks of `status` in the order of declaration, until one moves the run away."""
    number = engine.definition.checked(status)
    callbacks = engine.definition.callbacks.get(number)
    if not callbacks:
        raise StatusNotConfigured(engine.name, status, "it has no callback")
    # Decode for all before any runs: a bad payload changes nothing.
    payloads = [_decode(engine, callback, foreign_id, status, payload) for callback in callbacks]
    moved = False
    for callback, value in zip(callbacks, payloads, strict=True):
        record = await _waiting(engine, foreign_id, run_id)
        if moved and (record.status != number or record.run_state not in RUNNABLE):
            return
        run_id = record.run_id
        moved = await _call_one(engine, callback, value, record, status) or moved


def _decode(engine: Engine[Any, Any], callback: Callback, foreign_id: str, status: Any, payload: bytes) -> Any:
    if not isinstance(payload, bytes | bytearray | memoryview):
        why = f"payload must be bytes, not {type(payload).__name__}"
        raise InvalidPayload(engine.name, status, why, foreign_id)
    try:
        return callback.decode(bytes(payload))
    except Exception as error:
        raise InvalidPayload(engine.name, status, describe(error), foreign_id) from error


async def _waiting(engine: Engine[Any, Any], foreign_id: str, run_id: str | None) -> Record:
    if run_id is None:
        record = await engine.records.latest(engine.name, foreign_id)
    else:
        record = (await engine.records.lookup([run_id])).get(run_id)
    if record is None or record.workflow_name != engine.name or record.foreign_id != foreign_id:
        raise RecordNotFound(run_id=run_id, workflow_name=engine.name, foreign_id=foreign_id)
    return record


async def _call_one(engine: Engine[Any, Any], callback: Callback, payload: Any, record: Record, status: Any) -> bool:
    """Run one callback; True if it changed the run."""
    for _ in range(TRIES):
        if record.status != callback.status or record.run_state not in RUNNABLE:
            raise NotWaiting(
                engine.name,
                record.foreign_id,
                record.run_id,
                status=engine.reading(record).status,
                wanted=status,
                run_state=record.run_state,
            )
        run = engine.handling(record)
        with engine.span("callback", record, root=False):
            result = await engine.invoker.call(callback.handler, run, payload)
        move = interpret(engine, record, run, result, callback.destinations, engine.ids.attempt_id())
        if move is None:
            engine.debug("skipping update", record, "callback")
            return False
        outcome = await engine.commits.apply(move, VERB_DEADLINE)
        if outcome.ok:
            return True
        if outcome.record is None:
            raise RecordNotFound(run_id=record.run_id, workflow_name=engine.name)
        record = outcome.record
    raise Conflict(record.run_id, record.version)
