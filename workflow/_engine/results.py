"""What a handler's answer becomes: a `NewVersion` to commit, nothing (skip), or a failed attempt.

One set of rules for steps, callbacks and timeouts.
"""

import traceback
from datetime import timedelta
from enum import IntEnum
from typing import Any

from msgspec.structs import replace

from .._model.change import NewVersion
from .._model.decision import Decision, Kind
from .._model.record import Record
from .._model.run import Run
from .._model.run_state import RunState
from ..errors import InvalidTransition
from ..options import Options
from .engine import Engine
from .transitions import AUTO_PAUSE_REASON


class ReturnMissing(TypeError):
    """A handler made a decision but did not return it."""

    def __init__(self, decision: Decision, result: object) -> None:
        super().__init__(
            f"the handler made the decision {decision.kind.name} but returned {result!r}: `return` is missing"
        )


def interpret(
    engine: Engine[Any, Any],
    record: Record,
    run: Run[Any, Any],
    result: object,
    destinations: frozenset[int],
    attempt_id: str,
) -> NewVersion | None:
    """The move that a handler's result asks for; None for a skip.

    Raises:
        InvalidTransition, ReturnMissing, InvalidObject: the attempt has failed.
    """
    run._end()  # noqa: SLF001 - Run hides from users what the engine needs
    made = run._made  # noqa: SLF001
    if made is not None and result is not made:
        raise ReturnMissing(made, result)
    now = engine.now()
    if isinstance(result, Decision):
        move = _decided(engine, record, run, result, attempt_id)
    elif isinstance(result, IntEnum) and type(result) is engine.definition.status_type and int(result) in destinations:
        data = engine.encode(run.object, record.run_id)
        move = engine.transitions.moved(record, int(result), data, now, attempt_id)
    else:
        raise InvalidTransition(engine.name, record.run_id, run.status, result)
    writes = run._on_commit  # noqa: SLF001
    return replace(move, on_commit=tuple(writes)) if move is not None and writes else move


def _decided(
    engine: Engine[Any, Any], record: Record, run: Run[Any, Any], decision: Decision, attempt_id: str
) -> NewVersion | None:
    if decision.kind is Kind.SKIP:
        return None
    now, transitions = engine.now(), engine.transitions
    data = engine.encode(run.object, record.run_id)
    if decision.kind is Kind.SAVE_AND_REPEAT:
        return transitions.repeated(record, data, now, attempt_id)
    wanted = RunState.PAUSED if decision.kind is Kind.PAUSE else RunState.CANCELLED
    return transitions.stopped(record, wanted, decision.reason, now, attempt_id, data=data)


def failure(
    engine: Engine[Any, Any],
    record: Record,
    error: str,
    options: Options,
    attempt_id: str,
    *,
    minimum: timedelta = timedelta(0),
) -> NewVersion:
    """The move after a failed attempt: the same step later, or a pause once it has failed too often."""
    threshold = options.pause_after_err_count or 0
    if threshold and record.attempt >= threshold:
        return auto_pause(engine, record, AUTO_PAUSE_REASON, error, attempt_id)
    delay = max(minimum, options.back_off().delay(record.attempt, engine.ids.draw))
    return engine.transitions.failed(record, error, engine.now(), delay, attempt_id)


def auto_pause(engine: Engine[Any, Any], record: Record, reason: str, error: str, attempt_id: str) -> NewVersion:
    """A pause by the engine, after errors; `pause_retry` resumes it."""
    return engine.transitions.stopped(record, RunState.PAUSED, reason, engine.now(), attempt_id, error=error, auto=True)


def error_text(error: BaseException) -> str:
    """What is kept of an error: its type and text first, then the trace."""
    return f"{type(error).__name__}: {safe_str(error)}\n\n" + "".join(traceback.format_exception(error))


def safe_str(error: BaseException) -> str:
    """The error's own text."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - whoever wrote its __str__ must not hide that the attempt failed
        return "(its text cannot be had)"
