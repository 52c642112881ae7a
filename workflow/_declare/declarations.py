"""Everything a builder was told: the declarations, entered into the graph, and the problems that were seen.

A declaration is never refused half way: its problems are kept for `check`, which reports them all.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Generic

from .. import _arguments
from .._model import topology
from .._model.graph import StatusGraph
from .._model.run import ObjectT, StatusT
from .._model.run_state import RunState
from ..options import Options
from ..protocols import ConnectorSource
from .annotations import payload_annotation, return_destinations
from .codec import payload_decoder
from .handlers import Callback, Connector, Handler, ScheduleDeclaration, Step, Timeout
from .signature import signature_problem

_CONNECTOR_IGNORES = ("polling_frequency", "pause_after_err_count")


class Declarations(Generic[ObjectT, StatusT]):
    """The declarations of one builder so far."""

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

    def step(self, origin: Any, fn: Callable[..., Any], to: Any, options: Options | None) -> None:
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
        if self._fits(where, fn, options, "run"):
            self.steps[int(origin)] = Step(int(origin), Handler.of(fn), _numbers(destinations), options or Options())

    def callback(self, origin: Any, fn: Callable[..., Any], to: Any) -> None:
        """Declare a callback."""
        where = f"callback({origin!r})"
        if not self._is_status(origin, "callback"):
            return
        destinations = _numbers(self._destinations(where, origin, fn, to))
        if not self._fits(where, fn, None, "run", "payload"):
            return
        try:
            decode = payload_decoder(payload_annotation(fn, self.status_type, self.object_type))
        except (TypeError, ValueError, NameError) as error:
            self.problems.append(f"{where}: the annotation of its payload cannot be used: {error}")
            return
        declared = Callback(int(origin), Handler.of(fn), destinations, decode)
        self.callbacks.setdefault(int(origin), []).append(declared)

    def timeout(self, origin: Any, timer: Any, fn: Callable[..., Any], to: Any, options: Options | None) -> None:
        """Declare a timeout."""
        where = f"timeout({origin!r})"
        if not self._is_status(origin, "timeout"):
            return
        destinations = _numbers(self._destinations(where, origin, fn, to))
        if not self._fits(where, fn, options, "run", "now"):
            return
        options = options or Options()
        if options.parallel_count is not None:
            self.problems.append(f"{where}: parallel_count cannot be set for a timeout")
        if options.consume_lag is not None:
            self.problems.append(f"{where}: consume_lag cannot be set for a timeout")
        if (problem := _unusable(timer)) is not None:
            self.problems.append(f"{where}: {problem}")
            return
        declared = self.timeouts.setdefault(int(origin), [])
        when = timer if isinstance(timer, timedelta | datetime) else Handler.of(timer)
        declared.append(Timeout(int(origin), len(declared), when, Handler.of(fn), destinations, options))

    def connector(self, name: str, source: ConnectorSource, fn: Callable[..., Any], options: Options | None) -> None:
        """Declare a connector."""
        where = f"connector {name!r}"
        if not self._named(where, "name", name, _arguments.LONGEST_NAME):
            return
        if not self._fits(where, fn, options, "wf", "event"):
            return
        if not callable(getattr(source, "receiver", None)):
            self.problems.append(f"{where}: {source!r} is not a ConnectorSource")
            return
        options = options or Options()
        if any(topology.joined(other.name) == topology.joined(name) for other in self.connectors):
            self.problems.append(f"connector {name!r} already exists: connector names need to be unique")
        for option in _CONNECTOR_IGNORES:
            if getattr(options, option) is not None:
                self.problems.append(f"connector {name!r}: {option} has no meaning for a connector")
        self.connectors.append(Connector(name, source, Handler.of(fn), options))

    def hook(self, run_state: RunState, fn: Callable[..., Any]) -> None:
        """Declare a hook; the last one declared for a run state counts."""
        if self._fits(f"hook for {run_state}", fn, None, "run"):
            self.hooks[run_state] = Handler.of(fn)

    def schedule(self, foreign_id: str, spec: str, timezone: str, initial_value: Any, asked: Any) -> None:
        """Declare a schedule; its spec and its value are checked when the workflow is built."""
        where = f"schedule({foreign_id!r}, {spec!r})"
        if not self._named(where, "foreign_id", foreign_id, _arguments.LONGEST_ID):
            return
        if asked is not None and not self._fits(f"{where}: filter", asked, None):
            return
        if any((s.foreign_id, s.spec, s.timezone) == (foreign_id, spec, timezone) for s in self.schedules):
            self.problems.append(f"{where} already exists in {timezone}")
            return
        handler = None if asked is None else Handler.of(asked)
        self.schedules.append(ScheduleDeclaration(foreign_id, spec, timezone, initial_value, handler))

    def _fits(self, where: str, fn: Any, options: Any, *arguments: str) -> bool:
        """Whether a function and its options can be used here."""
        if options is not None and not isinstance(options, Options):
            self.problems.append(f"{where}: options must be Options, not {options!r}")
            return False
        if (problem := signature_problem(fn, *arguments)) is not None:
            self.problems.append(f"{where}: {problem}")
            return False
        return True

    def _named(self, where: str, what: str, value: object, most: int) -> bool:
        try:
            _arguments.text(what, value, most=most)
        except (TypeError, ValueError) as error:
            self.problems.append(f"{where}: {error}")
            return False
        return True

    def _is_status(self, status: Any, where: str) -> bool:
        if type(status) is self.status_type:
            return True
        self.problems.append(f"{where}({status!r}): not a member of {enum_name(self.status_type)}")
        return False

    def _destinations(self, where: str, origin: Any, fn: Callable[..., Any], to: Any) -> tuple[Any, ...] | None:
        """The destinations of a handler, entered into the graph; None after a problem."""
        given = self._given(where, to)
        try:
            read = return_destinations(fn, self.status_type, self.object_type)
        except (TypeError, ValueError, NameError) as error:
            self.problems.append(f"{where}: {error}")
            return None
        if given is not None and any(type(status) is not self.status_type for status in given):
            return None
        if given is not None and read and set(given) != set(read):
            self.problems.append(f"{where}: `to` says {texts(given)}, the return annotation says {texts(read)}")
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

    def _given(self, where: str, to: Any) -> tuple[Any, ...] | None:
        """What `to` holds, with a problem for all that is not a status."""
        if to is None:
            return None
        given = tuple(to) if isinstance(to, Iterable) and not isinstance(to, str) else (to,)
        name = enum_name(self.status_type)
        strangers = [status for status in given if type(status) is not self.status_type]
        self.problems += [f"{where}: destination {status!r} is not a member of {name}" for status in strangers]
        return given


def _unusable(timer: Any) -> str | None:
    """Why this is no timer; None if it is one."""
    if isinstance(timer, datetime):
        return f"the moment {timer!r} has no time zone" if timer.utcoffset() is None else None
    if isinstance(timer, timedelta):
        return f"the timer {timer!r} is negative" if timer < timedelta(0) else None
    if not callable(timer):
        return f"{timer!r} is no timedelta, datetime or function"
    problem = signature_problem(timer, "run", "now")
    return None if problem is None else f"timer {problem}"


def enum_name(status_type: Any) -> str:
    """How messages call the status enum."""
    return getattr(status_type, "__name__", None) or repr(status_type)


def texts(statuses: Iterable[Any]) -> str:
    """Statuses in a message."""
    return ", ".join(repr(status) for status in statuses)


def _numbers(destinations: tuple[Any, ...] | None) -> frozenset[int]:
    return frozenset(int(status) for status in destinations or ())
