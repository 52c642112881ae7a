"""From declarations to a `Definition`: collects every problem, and reports them together.

Owns all rules about declarations as a whole. Nothing after this may find a workflow badly declared.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from .. import _arguments
from .._model import topology
from .._model.run import ObjectT, StatusT
from ..errors import BuildError, ScheduleError
from ..options import DEFAULTS, Options, OutboxOptions
from ..protocols import Backend, Codec
from .codec import JSONCodec, describe, zero_value
from .cron import Schedule
from .declarations import Declarations, enum_name, texts
from .definition import Definition, status_text
from .signature import signature_problem

SMALLEST_STATUS, LARGEST_STATUS = -(2**63), 2**63 - 1
"""What every store can keep."""


def check(
    declared: Declarations[ObjectT, StatusT],
    backend: Backend,
    *,
    starting_point: Any,
    default_options: Options,
    codec: Codec[ObjectT] | None,
    further: Iterable[str],
) -> tuple[Definition[ObjectT, StatusT], Codec[ObjectT]]:
    """The definition and the codec of its objects, if nothing is wrong.

    Args:
        further: problems found elsewhere; they are reported together with these.

    Raises:
        BuildError: with everything that is wrong.
    """
    problems = [*_name(declared.name), *_status_type(declared.status_type), *declared.problems, *further]
    nodes = set(declared.graph.nodes()) | set(declared.callbacks) | set(declared.timeouts)
    starts: list[int] = []
    if not _status_type(declared.status_type):
        starts = _starting_points(declared, starting_point, nodes, problems)
        problems += _unreachable(declared, starts, nodes)
        problems += _waiting_at_the_end(declared)
        problems += _labels(declared, nodes)
        problems += _backend(declared, backend, default_options)
    codec = codec if codec is not None else _json_codec(declared.object_type, problems)
    problems += _schedules(declared, codec)
    if problems or codec is None:
        raise BuildError(str(declared.name), problems)
    definition = Definition(
        name=declared.name,
        object_type=declared.object_type,
        status_type=declared.status_type,
        graph=declared.graph,
        starting_points=tuple(starts),
        steps=MappingProxyType(dict(declared.steps)),
        callbacks=MappingProxyType({status: tuple(found) for status, found in declared.callbacks.items()}),
        timeouts=MappingProxyType({status: tuple(found) for status, found in declared.timeouts.items()}),
        connectors=tuple(declared.connectors),
        hooks=MappingProxyType(dict(declared.hooks)),
        schedules=tuple(declared.schedules),
        nodes=frozenset(nodes),
    )
    return definition, codec


def settings_problems(
    *,
    default_options: object,
    outbox_options: object,
    pause_retry: object,
    sweep_after: object,
    custom_delete: object,
    clock: object,
    codec: object,
) -> list[str]:
    """Problems of those arguments of `build` that do not depend on the declarations."""
    problems = []
    if not isinstance(default_options, Options):
        problems.append(f"default_options must be Options, not {default_options!r}")
    if not isinstance(outbox_options, OutboxOptions):
        problems.append(f"outbox_options must be OutboxOptions, not {outbox_options!r}")
    if pause_retry is not None:
        problems += _raised(lambda: _arguments.duration("pause_retry", pause_retry))
    problems += _raised(lambda: _arguments.duration("sweep_after", sweep_after))
    if sweep_after == timedelta(0):
        problems.append("sweep_after must be longer than 0")
    if custom_delete is not None and (problem := signature_problem(custom_delete, "object")) is not None:
        problems.append(f"custom_delete: {problem}")
    for name, value, methods in (("clock", clock, ("now", "call_at")), ("codec", codec, ("encode", "decode"))):
        if value is not None and not all(callable(getattr(value, method, None)) for method in methods):
            problems.append(f"{name} must have the methods {' and '.join(methods)}, as {value!r} does not")
    return problems


def _raised(checked: Callable[[], None]) -> list[str]:
    try:
        checked()
    except (TypeError, ValueError) as error:
        return [str(error)]
    return []


def _name(name: object) -> list[str]:
    if isinstance(name, str) and not name.strip():
        return ["the name is empty"]
    return _raised(lambda: _arguments.text("the name", name, most=_arguments.LONGEST_NAME))


def _status_type(status_type: Any) -> list[str]:
    if not isinstance(status_type, type) or not issubclass(status_type, IntEnum):
        return [f"the status type {enum_name(status_type)} is not an IntEnum"]
    return [
        f"{status!r} is outside of the 64 bits that stores keep"
        for status in status_type
        if not SMALLEST_STATUS <= status <= LARGEST_STATUS
    ]


def _starting_points(
    declared: Declarations[Any, Any], given: Any, nodes: Iterable[int], problems: list[str]
) -> list[int]:
    if given is None:
        if not (starts := [*declared.graph.starting()[:1]]):
            problems.append(
                "no starting point: at least one step, callback or timeout must leave a status that none enters; "
                "or name one with starting_point="
            )
        return starts
    statuses = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    if not statuses:
        problems.append("starting_point names no status")
    strangers = [s for s in statuses if type(s) is not declared.status_type or int(s) not in nodes]
    problems += [f"starting_point {status!r} is not a status of this workflow" for status in strangers]
    return [] if strangers else [int(status) for status in statuses]


def _unreachable(declared: Declarations[Any, Any], starts: Sequence[int], nodes: Iterable[int]) -> list[str]:
    if not starts:
        return []
    lost = {*declared.graph.unreachable(starts), *(set(nodes) - set(declared.graph.nodes()) - set(starts))}
    return [
        f"{declared.status_type(status)!r} cannot be reached from {texts(declared.status_type(s) for s in starts)}"
        for status in sorted(lost)
    ]


def _waiting_at_the_end(declared: Declarations[Any, Any]) -> list[str]:
    """Callbacks and timeouts where every run is completed already."""
    return [
        f"{kind}({declared.status_type(status)!r}): a run that enters it is completed, so it is never called"
        for kind, statuses in (("callback", declared.callbacks), ("timeout", declared.timeouts))
        for status in statuses
        if declared.graph.is_terminal(status)
    ]


def _labels(declared: Declarations[Any, Any], nodes: Iterable[int]) -> list[str]:
    seen: dict[str, int] = {}
    problems = []
    for status in sorted(nodes):
        text = status_text(declared.status_type, status).lower().replace(" ", "_")
        if text in seen:
            first, second = declared.status_type(seen[text]), declared.status_type(status)
            problems.append(f"{first!r} and {second!r} have the same text, so their processes would share a name")
        seen.setdefault(text, status)
    return problems


def _backend(declared: Declarations[Any, Any], backend: Any, defaults: Any) -> list[str]:
    if not isinstance(backend, Backend):
        return [f"backend must be a Backend, not {backend!r}"]
    missing = [
        f"the backend has no {part}"
        for part in ("record_store", "event_streamer", "role_scheduler")
        if getattr(backend, part) is None
    ]
    if declared.timeouts and backend.timeout_store is None:
        missing.append("timeouts cannot be configured without a timeout_store in the backend")
    if missing or not isinstance(defaults, Options):
        return missing
    problems = []
    all_options = defaults.over(DEFAULTS)
    for step in declared.steps.values():
        where = f"step({declared.status_type(step.status)!r})"
        count = step.options.over(all_options).parallel_count or 1
        partitions = backend.event_streamer.partitions(topology.topic(str(declared.name), step.status))
        if count > partitions:
            problems.append(f"{where}: parallel_count {count} is above the {partitions} partitions of the stream")
    return problems


def _json_codec(object_type: type[ObjectT], problems: list[str]) -> JSONCodec[ObjectT] | None:
    try:
        return JSONCodec(object_type)
    except TypeError as error:
        problems.append(str(error))
        return None


def _schedules(declared: Declarations[Any, Any], codec: Codec[Any] | None) -> list[str]:
    problems = []
    for schedule in declared.schedules:
        try:
            Schedule.parse(schedule.spec, schedule.timezone)
        except ScheduleError as error:
            problems.append(str(error))
        if codec is not None:
            value = schedule.initial_value
            try:
                codec.decode(codec.encode(zero_value(declared.object_type) if value is None else value))
            except Exception as error:  # noqa: BLE001 - a codec of the user's may raise anything
                where = f"schedule({schedule.foreign_id!r}, {schedule.spec!r})"
                problems.append(f"{where}: initial_value: {describe(error)}")
    return problems
