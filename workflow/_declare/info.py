"""A definition as others see it: everything that can be said of a workflow without its code."""

import hashlib
import json
from enum import IntEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from .._model.workflow_info import ScheduleInfo, StatusInfo, WorkflowInfo
from ..options import Options
from .definition import Definition


def workflow_info(definition: Definition[Any, Any], default_options: Options, *, release: str) -> WorkflowInfo:
    """The definition as a process that runs this workflow publishes it.

    Args:
        default_options: over the library's; how many shards a step has may come from here.
    """
    status_type: type[IntEnum] = definition.status_type
    schedules = [ScheduleInfo(foreign_id=s.foreign_id, spec=s.spec, timezone=s.timezone) for s in definition.schedules]
    info = WorkflowInfo(
        name=definition.name,
        statuses=tuple(_status(definition, status, default_options) for status in sorted(status_type)),
        edges=tuple(sorted(set(definition.graph.info().transitions))),
        starting_points=definition.starting_points,
        connectors=tuple(connector.name for connector in definition.connectors),
        hooks=tuple(str(run_state) for run_state in definition.hooks),
        schedules=tuple(schedules),
        object_schema=_object_schema(definition.object_type),
    )
    fingerprint = hashlib.sha256(msgspec.json.encode(info)).hexdigest()[:16]
    return replace(info, fingerprint=fingerprint, release=release)


def _status(definition: Definition[Any, Any], status: IntEnum, default_options: Options) -> StatusInfo:
    number = int(status)
    step = definition.steps.get(number)
    return StatusInfo(
        number=number,
        name=status.name,
        text=definition.status_text(number),
        terminal=definition.graph.is_terminal(number),
        step=step is not None,
        callbacks=len(definition.callbacks.get(number, ())),
        timers=len(definition.timeouts.get(number, ())),
        parallel_count=1 if step is None else step.options.over(default_options).parallel_count or 1,
    )


def _object_schema(object_type: Any) -> bytes:
    """The JSON schema of the object type; empty if there is none (a codec of the user's may store anything)."""
    try:
        if hasattr(object_type, "model_json_schema"):
            schema = object_type.model_json_schema()
        else:
            schema = msgspec.json.schema(object_type)
    except Exception:  # noqa: BLE001 - a type without a schema is no mistake, and its library may raise anything
        return b""
    return json.dumps(schema, sort_keys=True).encode()
