"""From a handler's answer to a `NewVersion` to commit, nothing (skip), or a failed attempt.

One set of rules for steps, callbacks and timeouts.
"""

from enum import IntEnum
from typing import Any

from msgspec.structs import replace

from .._model.change import NewVersion
from .._model.decision import Decision, Kind
from .._model.record import Record, Stamp
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
    engine: Engine,
    record: Record,
    run: Run[Any, Any],
    result: object,
    destinations: frozenset[int],
    stamp: Stamp,
) -> NewVersion | None:
    """The version that a handler's result asks for; None for a skip.

    Raises:
        InvalidTransition, ReturnMissing, InvalidObject: the attempt has failed.
    """
    run._end()  # noqa: SLF001 - Run hides from users what the engine needs
    made = run._made  # noqa: SLF001
    if made is not None and result is not made:
        raise ReturnMissing(made, result)
    if isinstance(result, Decision):
        version = _decided(engine, record, run, result, stamp)
    elif isinstance(result, IntEnum) and type(result) is engine.definition.status_type and int(result) in destinations:
        data = engine.encode_after(record, run.object)
        version = engine.transitions.moved(record, int(result), data, stamp)
    else:
        raise InvalidTransition(engine.name, record.run_id, run.status, result)
    writes = run._on_commit  # noqa: SLF001
    return replace(version, on_commit=tuple(writes)) if version is not None and writes else version


def _decided(engine: Engine, record: Record, run: Run[Any, Any], decision: Decision, stamp: Stamp) -> NewVersion | None:
    if decision.kind is Kind.SKIP:
        return None
    transitions = engine.transitions
    data = engine.encode_after(record, run.object)
    if decision.kind is Kind.SAVE_AND_REPEAT:
        return transitions.repeated(record, data, stamp)
    wanted = RunState.PAUSED if decision.kind is Kind.PAUSE else RunState.CANCELLED
    return transitions.stopped(record, wanted, decision.reason, stamp, data=data)


def failure(engine: Engine, record: Record, error: str, options: Options, stamp: Stamp) -> NewVersion:
    """The version after a failed attempt: the same step later, or a pause once it has failed too often."""
    threshold = options.pause_after_err_count or 0
    if threshold and record.attempt >= threshold:
        return auto_pause(engine, record, AUTO_PAUSE_REASON, error, stamp)
    delay = options.back_off().delay(record.attempt, engine.ids.draw)
    return engine.transitions.failed(record, error, delay, stamp)


def auto_pause(engine: Engine, record: Record, reason: str, error: str, stamp: Stamp) -> NewVersion:
    """A pause by the engine, after errors; `pause_retry` resumes it."""
    return engine.transitions.stopped(record, RunState.PAUSED, reason, stamp, error=error, auto=True)
