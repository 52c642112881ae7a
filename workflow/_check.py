"""From what was declared to a `Definition`: collects every problem, and reports them together.

Owns all rules about declarations. Nothing after this may find a workflow badly declared.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Generic, get_args

from ._codec import payload_decoder
from ._cron import Schedule
from ._definition import Definition, status_text
from ._destinations import payload_annotation, return_destinations
from ._graph import StatusGraph
from ._handlers import Callback, Connector, Handler, ScheduleDeclaration, Step, Timeout
from ._run import ObjectT, StatusT
from ._runstate import RunState
from .errors import BuildError, ScheduleError
from .options import DEFAULTS, Options
from .protocols import Backend, ConnectorSource

_CONNECTOR_IGNORES = ("polling_frequency", "pause_after_err_count")


class Declarations(Generic[ObjectT, StatusT]):
    """What a builder was told so far, with the problems seen while it was told."""

    def __init__(self, name: str, object_type: type[ObjectT], status_type: type[StatusT]) -> None:
        self.name, self.object_type, self.status_type = name, object_type, status_type
        self.graph = StatusGraph()
        self.steps: dict[int, Step] = {}
        self.callbacks: dict[int, list[Callback]] = {}
        self.timeouts: dict[int, list[Timeout]] = {}
        self.connectors: list[Connector] = []
        self.hooks: dict[RunState, Handler] = {}
        self.schedules: list[ScheduleDeclaration] = []
        self.problems: list[str] = []

    def step(self, origin: Any, fn: Callable[..., Any], to: Any, options: Options) -> None:
        """Declare a step."""
        if not self._is_status(origin, "step"):
            return
        if int(origin) in self.steps:
            self.problems.append(f"step({origin!r}) already exists: only one step can consume a status")
            return
        where = f"step({origin!r})"
        destinations = self._destinations(where, origin, fn, to)
        if destinations == ():
            self.problems.append(f"{where} has no destination: a step must be able to move its run")
        self.steps[int(origin)] = Step(int(origin), Handler.of(fn), _numbers(destinations), options)

    def callback(self, origin: Any, fn: Callable[..., Any], to: Any) -> None:
        """Declare a callback."""
        if not self._is_status(origin, "callback"):
            return
        where = f"callback({origin!r})"
        destinations = _numbers(self._destinations(where, origin, fn, to))
        try:
            decode = payload_decoder(payload_annotation(fn, self.status_type, self.object_type))
        except (TypeError, ValueError, NameError) as error:
            self.problems.append(f"{where}: the annotation of its payload cannot be used: {error}")
            return
        declared = Callback(int(origin), Handler.of(fn), destinations, decode)
        self.callbacks.setdefault(int(origin), []).append(declared)

    def timeout(self, origin: Any, timer: Any, fn: Callable[..., Any], to: Any, options: Options) -> None:
        """Declare a timeout."""
        if not self._is_status(origin, "timeout"):
            return
        where = f"timeout({origin!r})"
        destinations = _numbers(self._destinations(where, origin, fn, to))
        if options.parallel_count is not None:
            self.problems.append(f"{where}: parallel_count cannot be set for a timeout")
        if options.consume_lag is not None:
            self.problems.append(f"{where}: consume_lag cannot be set for a timeout")
        if isinstance(timer, datetime) and timer.tzinfo is None:
            self.problems.append(f"{where}: the moment {timer!r} has no time zone")
        elif not isinstance(timer, timedelta | datetime) and not callable(timer):
            self.problems.append(f"{where}: {timer!r} is no timedelta, datetime or function")
            return
        declared = self.timeouts.setdefault(int(origin), [])
        when = timer if isinstance(timer, timedelta | datetime) else Handler.of(timer)
        declared.append(Timeout(int(origin), len(declared), when, Handler.of(fn), destinations, options))

    def connector(self, name: str, source: ConnectorSource, fn: Callable[..., Any], options: Options) -> None:
        """Declare a connector."""
        if any(other.name == name for other in self.connectors):
            self.problems.append(f"connector {name!r} already exists: connector names need to be unique")
        for option in _CONNECTOR_IGNORES:
            if getattr(options, option) is not None:
                self.problems.append(f"connector {name!r}: {option} has no meaning for a connector")
        self.connectors.append(Connector(name, source, Handler.of(fn), options))

    def hook(self, run_state: RunState, fn: Callable[..., Any]) -> None:
        """Declare a hook; the last one declared for a run state counts."""
        self.hooks[run_state] = Handler.of(fn)

    def _is_status(self, status: Any, where: str) -> bool:
        if type(status) is self.status_type:
            return True
        self.problems.append(f"{where}({status!r}): not a member of {self.status_type.__name__}")
        return False

    def _destinations(self, where: str, origin: Any, fn: Callable[..., Any], to: Any) -> tuple[Any, ...] | None:
        """The destinations of a handler, entered into the graph; None after a problem."""
        given = None if to is None else (to,) if isinstance(to, IntEnum) else tuple(to)
        try:
            read = return_destinations(fn, self.status_type, self.object_type)
        except (TypeError, ValueError, NameError) as error:
            self.problems.append(f"{where}: {error}")
            return None
        for status in given or ():
            if type(status) is not self.status_type:
                self.problems.append(f"{where}: destination {status!r} is not a member of {self.status_type.__name__}")
                return None
        if given is not None and read and set(given) != set(read):
            self.problems.append(f"{where}: `to` says {_texts(given)}, the return annotation says {_texts(read)}")
            return None
        destinations = given if given is not None else read
        if destinations is None:
            self.problems.append(
                f"{where}: no destinations: give `to=`, or annotate the handler with -> Literal[...] of statuses"
            )
            return None
        for status in destinations:
            self.graph.add(int(origin), int(status))
        return tuple(destinations)


def check(
    declared: Declarations[ObjectT, StatusT],
    backend: Backend,
    starting_point: Any,
    default_options: Options,
) -> Definition[ObjectT, StatusT]:
    """The definition, if nothing is wrong.

    Raises:
        BuildError: with everything that is wrong.
    """
    problems = [*declared.problems]
    if not declared.name.strip():
        problems.append("the name is empty")
    nodes = set(declared.graph.nodes()) | set(declared.callbacks) | set(declared.timeouts)
    starts = _starting_points(declared, starting_point, nodes, problems)
    problems += _unreachable(declared, starts)
    problems += _labels(declared, nodes)
    problems += _backend(declared, backend, default_options.over(DEFAULTS))
    problems += _schedules(declared.schedules)
    problems += _object_type(declared.object_type)
    if problems:
        raise BuildError(declared.name, problems)
    return Definition(
        name=declared.name,
        object_type=declared.object_type,
        status_type=declared.status_type,
        graph=declared.graph,
        starting_point=starts[0],
        steps=MappingProxyType(dict(declared.steps)),
        callbacks=MappingProxyType({status: tuple(found) for status, found in declared.callbacks.items()}),
        timeouts=MappingProxyType({status: tuple(found) for status, found in declared.timeouts.items()}),
        connectors=tuple(declared.connectors),
        hooks=MappingProxyType(dict(declared.hooks)),
        schedules=tuple(declared.schedules),
        nodes=frozenset(nodes),
    )


def _starting_points(
    declared: Declarations[Any, Any], given: Any, nodes: Iterable[int], problems: list[str]
) -> Sequence[int]:
    if given is None:
        if not (starts := declared.graph.starting()[:1]):
            problems.append(
                "no starting point: at least one step, callback or timeout must leave a status that none enters; "
                "or name one with starting_point="
            )
        return starts
    statuses = (given,) if isinstance(given, IntEnum) else tuple(given)
    problems += [
        f"starting_point {status!r} is not a status of this workflow"
        for status in statuses
        if type(status) is not declared.status_type or int(status) not in nodes
    ]
    return [int(status) for status in statuses]


def _unreachable(declared: Declarations[Any, Any], starts: Sequence[int]) -> list[str]:
    if not starts:
        return []
    return [
        f"{declared.status_type(status)!r} cannot be reached from {_texts(declared.status_type(s) for s in starts)}"
        for status in declared.graph.unreachable(starts)
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


def _backend(declared: Declarations[Any, Any], backend: Backend, defaults: Options) -> list[str]:
    problems = []
    if declared.timeouts and backend.timeout_store is None:
        problems.append("timeouts cannot be configured without a timeout_store in the backend")
    partitions = backend.event_streamer.partitions
    sharded = [(f"step({declared.status_type(s.status)!r})", s.options) for s in declared.steps.values()]
    sharded += [(f"connector {c.name!r}", c.options) for c in declared.connectors]
    for where, options in sharded:
        count = options.over(defaults).parallel_count or 1
        if count > partitions:
            problems.append(f"{where}: parallel_count {count} is above the {partitions} partitions of the stream")
    return problems


def _schedules(schedules: Sequence[ScheduleDeclaration]) -> list[str]:
    problems = []
    for schedule in schedules:
        try:
            Schedule.parse(schedule.spec, schedule.timezone)
        except ScheduleError as error:
            problems.append(str(error))
    return problems


def _object_type(object_type: Any) -> list[str]:
    if get_args(object_type) and not isinstance(object_type, type) and not hasattr(object_type, "__origin__"):
        return [f"object type {object_type!r} must be one class, not a union"]
    return []


def _numbers(destinations: tuple[Any, ...] | None) -> frozenset[int]:
    return frozenset(int(status) for status in destinations or ())


def _texts(statuses: Iterable[Any]) -> str:
    return ", ".join(repr(status) for status in statuses)
