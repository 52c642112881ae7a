"""What every process and every verb of one workflow shares: its ports, its values, and the way a version is applied."""

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic

from prometheus_client import CollectorRegistry

from .._declare.codec import describe, zero_value
from .._declare.definition import Definition
from .._declare.handlers import Handler
from .._model import topology
from .._model.change import NewVersion
from .._model.record import Record
from .._model.run import ObjectT, Run, StatusT, read_status
from .._model.run_state import RunState
from ..errors import InvalidObject
from ..options import DEFAULTS, Options, OutboxOptions
from ..protocols import Backend, Clock, Codec, TimeoutStore
from .commits import Commits
from .fast_lane import FastLane
from .ids import IdSource
from .invoker import Invoker
from .metrics import Metrics
from .news import NewsFeed
from .system_clock import SystemClock
from .tracing import Tracing
from .transitions import Transitions

_UNTRACED: AbstractContextManager[object] = nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a workflow was built; see `Builder.build`."""

    default_options: Options
    outbox_options: OutboxOptions
    outbox: bool
    pause_retry: timedelta | None
    sweep_after: timedelta
    debug: bool

    def options(self, own: Options | None = None) -> Options:
        """Options of one process: its own, over the workflow's, over the library's."""
        return (own or Options()).over(self.default_options.over(DEFAULTS))


class Engine(Generic[ObjectT, StatusT]):
    """One built workflow, without its verbs and without its loops."""

    def __init__(
        self,
        definition: Definition[ObjectT, StatusT],
        backend: Backend,
        settings: Settings,
        *,
        custom_delete: Handler | None,
        clock: Clock | None,
        codec: Codec[ObjectT],
        logger: logging.Logger | None,
        registry: CollectorRegistry | None,
        tracer_provider: Any,
        ids: IdSource | None,
    ) -> None:
        self.definition, self.settings = definition, settings
        self.custom_delete = custom_delete
        self.records, self.stream, self.roles = backend.record_store, backend.event_streamer, backend.role_scheduler
        self.timeout_store = backend.timeout_store
        self.clock = clock or SystemClock()
        self.ids = ids or IdSource()
        self.logger = logger or logging.getLogger("workflow")
        self.metrics = Metrics(registry)
        self.tracing = Tracing(tracer_provider)
        self.codec = codec
        self.invoker = Invoker(self.logger)
        self.lane = FastLane()
        self.news = NewsFeed(definition.name, self.stream, self.logger)
        self.transitions = Transitions(
            definition.name, definition.graph, definition.status_text, _lags(definition, settings)
        )
        self.commits = Commits(self.records, self._applied, self.ids.draw, self.logger)

    @property
    def name(self) -> str:
        """The workflow's name."""
        return self.definition.name

    @property
    def timeouts(self) -> TimeoutStore:
        """The timeout store, of a workflow that has timeouts."""
        assert self.timeout_store is not None, "checked when the workflow was built"
        return self.timeout_store

    def now(self) -> datetime:
        """The present moment by the engine's clock."""
        return self.clock.now()

    def encode(self, value: ObjectT, run_id: str | None) -> bytes:
        """The object's bytes.

        Raises:
            InvalidObject: it cannot be encoded; names workflow, run and reason.
        """
        try:
            return self.codec.encode(value)
        except Exception as error:
            raise InvalidObject(self.name, run_id, f"cannot be encoded: {describe(error)}") from error

    def decode(self, data: bytes, run_id: str | None) -> ObjectT:
        """The object of stored bytes, a new one each time.

        Raises:
            InvalidObject: the bytes do not decode to the object type; names workflow, run and field.
        """
        try:
            return self.codec.decode(data)
        except Exception as error:
            raise InvalidObject(self.name, run_id, f"cannot be decoded: {describe(error)}") from error

    def initial(self, value: ObjectT | None, run_id: str | None) -> bytes:
        """The bytes that a run starts with; without a value, those of `object_type()`.

        Raises:
            InvalidObject: there is no such value, it cannot be encoded, or a handler could not read it.
        """
        if value is None:
            try:
                value = zero_value(self.definition.object_type)
            except TypeError as error:
                raise InvalidObject(self.name, run_id, str(error), field="initial_value") from error
        data = self.encode(value, run_id)
        self.decode(data, run_id)
        return data

    def reading(self, record: Record) -> Run[ObjectT, StatusT]:
        """A record as its user sees it; the object is decoded when it is asked for."""
        run_id = record.run_id
        status = read_status(self.definition.status_type, record.status)
        return Run(record, status, lambda data: self.decode(data, run_id))

    def handling(self, record: Record) -> Run[ObjectT, StatusT]:
        """A record as a handler gets it.

        Raises:
            InvalidObject: the stored object does not decode.
        """
        status = read_status(self.definition.status_type, record.status)
        run = Run(record, status, self._decode_again, handling=True)
        run.object = self.decode(record.object, record.run_id)
        return run

    def _decode_again(self, data: bytes) -> ObjectT:
        return self.decode(data, None)

    def extra(self, record: Record, process: str = "") -> dict[str, Any]:
        """What log lines about a run carry."""
        return {
            "workflow": self.name,
            "run_id": record.run_id,
            "foreign_id": record.foreign_id,
            "status": self.definition.status_text(record.status),
            "process_name": process,
        }

    def span(self, kind: str, record: Record, *, root: bool = True) -> AbstractContextManager[object]:
        """A span around a handler, linked to the span that triggered the run; nothing if nothing is traced."""
        if not self.tracing.enabled:
            return _UNTRACED
        status = self.definition.status_text(record.status)
        attributes: dict[str, str | int] = {
            "workflow.name": self.name,
            "workflow.run_id": record.run_id,
            "workflow.foreign_id": record.foreign_id,
            "workflow.status": status,
            "workflow.version": record.version,
            "workflow.attempt": record.attempt,
        }
        link = record.meta.trace_context
        return self.tracing.span(f"{kind} {status}", attributes=attributes, link=link, root=root)

    def debug(self, message: str, record: Record, process: str = "") -> None:
        """A debug line about a run, if the workflow was built with `debug`."""
        if self.settings.debug:
            self.logger.debug(message, extra=self.extra(record, process))

    def _applied(self, move: NewVersion) -> None:
        record = move.record
        previous = RunState.UNKNOWN if record.version == 1 else move.previous
        self.metrics.run_state_change(self.name, str(previous), str(record.run_state))
        self.news.notify(record)
        self.lane.offer(move)


def _lags(definition: Definition[Any, Any], settings: Settings) -> dict[int, timedelta]:
    """How long the event of each status waits in the outbox because its step wants it old.

    Where a status has timers the event must reach the timeout inserter at once; there the step consumer waits.
    """
    lags = {}
    for status, step in definition.steps.items():
        lag = settings.options(step.options).consume_lag
        if lag and status not in definition.timeouts:
            lags[status] = lag
    return lags


def role_group(workflow_name: str, shard: object) -> str:
    """Roles of one workflow and one shard belong together, so that a run stays with its process."""
    return f"{topology.role(workflow_name)}/{shard}"
