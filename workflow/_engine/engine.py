"""A built workflow as its processes and verbs see it: the core, its definition, its codec and its handlers."""

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from .._declare.codec import describe, zero_value
from .._declare.definition import Definition
from .._declare.handlers import Handler
from .._declare.round_trip import difference
from .._model.record import Record, Version
from .._model.run import Run, read_status
from ..errors import InvalidObject
from ..options import DEFAULTS, Options, OutboxOptions
from ..protocols import Backend, Clock, Codec, KeepsUnknownFields
from .core import Core
from .ids import IdSource
from .in_flight import InFlight
from .invoker import Invoker
from .log import SafeLogger
from .metrics import Metrics
from .own_bytes import OwnBytes
from .system_clock import SystemClock
from .tracing import Tracing
from .transitions import Transitions

if TYPE_CHECKING:  # an extra
    from opentelemetry.trace import TracerProvider

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
        return _resolved(own or _UNSET, self.default_options)


_UNSET = Options()


@lru_cache(maxsize=256)
def _resolved(own: Options, defaults: Options) -> Options:
    # Asked for at every timer and hook; to fill in and check eight options costs more than the rest of their work.
    return own.over(defaults.over(DEFAULTS))


class Engine(Core):
    """One built workflow: its core, its definition and its handlers; without its verbs and without its loops.

    It is not generic: the types of objects and statuses are known to `Workflow` and to the handlers.
    """

    def __init__(
        self,
        definition: Definition[Any, Any],
        backend: Backend,
        settings: Settings,
        *,
        custom_delete: Handler | None,
        clock: Clock | None,
        codec: Codec[Any],
        logger: logging.Logger | None,
        registry: CollectorRegistry | None,
        tracer_provider: "TracerProvider | None",
        ids: IdSource | None,
    ) -> None:
        safe_logger = SafeLogger(logger or logging.getLogger("workflow"))
        lags = _lags(definition, settings)
        super().__init__(
            definition.name,
            backend,
            Transitions(definition.name, definition.graph, definition.status_text, lags),
            timer_statuses=definition.timeouts.keys(),
            clock=clock or SystemClock(),
            ids=ids or IdSource(),
            logger=safe_logger,
            metrics=Metrics(registry),
        )
        self.in_flight = InFlight(definition.name, self.metrics, safe_logger)
        self.definition, self.settings = definition, settings
        self.custom_delete = custom_delete
        self.codec = codec
        self._keep = codec.keep if isinstance(codec, KeepsUnknownFields) else None
        self._own = OwnBytes()
        self.tracing = Tracing(tracer_provider)
        self.invoker = Invoker(safe_logger)
        status_type: type[IntEnum] = definition.status_type
        self._texts = {int(status): definition.status_text(status) for status in status_type}
        self._numbers = {text: number for number, text in self._texts.items()}

    def encode(self, value: Any, run_id: str | None) -> bytes:
        """The object's bytes, from which it comes back as it is.

        Raises:
            InvalidObject: it cannot be encoded, or would come back different; names workflow, run, field and reason.
        """
        try:
            data = self.codec.encode(value)
        except BaseException as error:  # whatever it is, this code awaits nothing: it is the codec's own
            raise InvalidObject(self.name, run_id, f"cannot be encoded: {describe(error)}") from error
        if (changed := difference(value, self.decode(data, run_id))) is not None:
            raise InvalidObject(self.name, run_id, f"would change: {changed}")
        self._own.add(data)
        return data

    def encode_after(self, record: Record, value: Any) -> bytes:
        """The bytes of the object that a handler left, with the fields of `record` that only other releases know.

        Raises:
            InvalidObject: see `encode`.
        """
        data = self.encode(value, record.run_id)
        if self._keep is None or record.object in self._own:
            return data
        try:
            return self._keep(record.object, data)
        except BaseException as error:
            raise InvalidObject(self.name, record.run_id, f"cannot be encoded: {describe(error)}") from error

    def decode(self, data: bytes, run_id: str | None) -> Any:
        """The object of stored bytes, a new one each time.

        Raises:
            InvalidObject: the bytes do not decode to the object type; names workflow, run and field.
        """
        try:
            return self.codec.decode(data)
        except BaseException as error:
            raise InvalidObject(self.name, run_id, f"cannot be decoded: {describe(error)}") from error

    def initial(self, value: Any, run_id: str | None) -> bytes:
        """The bytes that a run starts with; without a value, those of `object_type()`.

        Raises:
            InvalidObject: there is no such value, it cannot be encoded, or would come back different to a handler.
        """
        if value is None:
            try:
                value = zero_value(self.definition.object_type)
            except TypeError as error:
                raise InvalidObject(self.name, run_id, str(error), field="initial_value") from error
        return self.encode(value, run_id)

    def reading(self, version: Version) -> Run[Any, Any]:
        """A version as its user sees it; the object is decoded when it is asked for."""
        run_id = version.run_id
        status = read_status(self.definition.status_type, version.status)
        return Run(version, status, lambda data: self.decode(data, run_id))

    def handling(self, record: Record, *, attempt: int | None = None, last_error: str | None = None) -> Run[Any, Any]:
        """A record as a handler gets it; a timer counts its attempts and errors by itself.

        Raises:
            InvalidObject: the stored object does not decode, or the number of its status has another meaning now.
        """
        if record.meta.status_description != self._texts.get(record.status):
            self._check_status(record)
        status = read_status(self.definition.status_type, record.status)
        run: Run[Any, Any] = Run(
            record, status, self._decode_again, handling=True, attempt=attempt, last_error=last_error
        )
        run.object = self.decode(record.object, record.run_id)
        return run

    def _check_status(self, record: Record) -> None:
        """Refuse a run whose status was renumbered: a record keeps the text of its status beside the number.

        A text that no status has any more is a status that was renamed, and is none of our business.
        """
        stored = record.meta.status_description
        moved_to = self._numbers.get(stored)
        if moved_to is not None:
            now = self._texts.get(record.status, "unknown")
            why = (
                f"stored as {stored!r} ({record.status}), but {record.status} is {now!r} now, {stored!r} is {moved_to}"
            )
            raise InvalidObject(self.name, record.run_id, why, field="status")

    def _decode_again(self, data: bytes) -> Any:
        return self.decode(data, None)

    def extra(self, record: Version, process: str = "") -> dict[str, Any]:
        """What log lines about a run carry."""
        return {
            "workflow": self.name,
            "run_id": record.run_id,
            "foreign_id": record.foreign_id,
            "status": self.definition.status_text(record.status),
            "process_name": process,
        }

    def span(self, kind: str, record: Version, *, root: bool = True) -> AbstractContextManager[object]:
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

    def debug(self, message: str, record: Version, process: str = "") -> None:
        """A debug line about a run, if the workflow was built with `debug`."""
        if self.settings.debug:
            self.logger.debug(message, extra=self.extra(record, process))


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
