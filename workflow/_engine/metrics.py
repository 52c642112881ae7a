"""The metrics for Prometheus.

Owns the names, labels and help texts: dashboards depend on them. Counters appear with the suffix `_total` that the
exposition format demands.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric

_PROCESS: Final = ("workflow_name", "process_name")
_LATENCY_BUCKETS: Final = (0.01, 0.1, 1.0, 5.0, 10.0, 60.0, 300.0)


class _FreshGauge(Gauge):
    """A gauge that is brought up to date when it is collected."""

    refresh: Callable[[], None] | None = None

    def collect(self) -> Iterable[Metric]:
        """Its values now."""
        if self.refresh is not None:
            self.refresh()
        return super().collect()


class _Collectors:
    """The collectors of one registry; a registry takes each name once, so all workflows on it share these."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.tells: dict[object, Callable[[], None]] = {}
        self.lag = _FreshGauge(
            "workflow_process_lag_seconds",
            "lag between now and the current event timestamp in seconds",
            _PROCESS,
            registry=registry,
        )
        self.lag_alert = _FreshGauge(
            "workflow_process_lag_alert",
            "Whether or not the consumer lag crosses its alert threshold",
            _PROCESS,
            registry=registry,
        )
        self.in_flight = _FreshGauge(
            "workflow_process_handlers_in_flight", "Number of handlers that run now", _PROCESS, registry=registry
        )
        self.oldest_handler = _FreshGauge(
            "workflow_process_oldest_handler_seconds",
            "Time since the oldest handler that runs now was called, in seconds",
            _PROCESS,
            registry=registry,
        )
        for gauge in (self.lag, self.lag_alert, self.in_flight, self.oldest_handler):
            gauge.refresh = self._refresh
        self.state = Gauge(
            "workflow_process_states", "The current states of all the processes", _PROCESS, registry=registry
        )
        self.latency = Histogram(
            "workflow_process_latency_seconds",
            "Event loop latency in seconds",
            _PROCESS,
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.errors = Counter(
            "workflow_process_error_count", "Number of errors processing events", _PROCESS, registry=registry
        )
        self.skipped = Counter(
            "workflow_process_skipped_events_count",
            "Number of events skipped by consumer",
            (*_PROCESS, "reason"),
            registry=registry,
        )
        self.run_state_changes = Counter(
            "workflow_run_state_changes",
            "The number of workflow run state changes going from state to a new state",
            ("workflow_name", "previous_run_state", "current_run_state"),
            registry=registry,
        )

    def _refresh(self) -> None:
        # A copy: it is called by the thread that collects.
        for tell in list(self.tells.values()):
            tell()


_known: WeakKeyDictionary[CollectorRegistry, _Collectors] = WeakKeyDictionary()
_lock = Lock()


def _collectors(registry: CollectorRegistry) -> _Collectors:
    with _lock:
        found = _known.get(registry)
        if found is None:
            found = _known[registry] = _Collectors(registry)
        return found


class ProcessMetrics:
    """The metrics of one process, their labels looked up once: a look-up costs more than the update itself.

    A metric appears with its first value, not before.
    """

    def __init__(self, collectors: _Collectors, workflow: str, process: str) -> None:
        self._collectors = collectors
        self._labels = (workflow, process)
        self._skipped: dict[str, Counter] = {}

    def lag(self, seconds: float, alert_threshold_seconds: float | None = None) -> None:
        """How old the oldest open event is; with a threshold above 0, also whether that is more than the threshold."""
        self._lag.set(seconds)
        if alert_threshold_seconds is not None and alert_threshold_seconds > 0:
            self._lag_alert.set(1 if seconds > alert_threshold_seconds else 0)

    def in_flight(self, handlers: int, oldest_seconds: float) -> None:
        """How many handlers run, and for how long the oldest of them has."""
        self._in_flight.set(handlers)
        self._oldest_handler.set(oldest_seconds)

    def state(self, value: int) -> None:
        """The process's state, as its number."""
        self._state.set(value)

    def latency(self, seconds: float) -> None:
        """How long one event took."""
        self._latency.observe(seconds)

    def error(self) -> None:
        """One more error."""
        self._errors.inc()

    def skipped(self, reason: str) -> None:
        """One more event that led to nothing."""
        child = self._skipped.get(reason)
        if child is None:
            child = self._skipped[reason] = self._collectors.skipped.labels(*self._labels, reason)
        child.inc()

    @cached_property
    def _lag(self) -> Gauge:
        return self._collectors.lag.labels(*self._labels)

    @cached_property
    def _lag_alert(self) -> Gauge:
        return self._collectors.lag_alert.labels(*self._labels)

    @cached_property
    def _in_flight(self) -> Gauge:
        return self._collectors.in_flight.labels(*self._labels)

    @cached_property
    def _oldest_handler(self) -> Gauge:
        return self._collectors.oldest_handler.labels(*self._labels)

    @cached_property
    def _state(self) -> Gauge:
        return self._collectors.state.labels(*self._labels)

    @cached_property
    def _latency(self) -> Histogram:
        return self._collectors.latency.labels(*self._labels)

    @cached_property
    def _errors(self) -> Counter:
        return self._collectors.errors.labels(*self._labels)


class Metrics:
    """The metrics on one registry: the one given, shared with every other `Metrics` on it, or a private one."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._collectors = _collectors(self.registry)
        self._processes: dict[tuple[str, str], ProcessMetrics] = {}
        self._changes: dict[tuple[str, str, str], Counter] = {}

    def process(self, workflow: str, process: str) -> ProcessMetrics:
        """The metrics of one process, to be kept by code that updates them often."""
        key = (workflow, process)
        found = self._processes.get(key)
        if found is None:
            found = self._processes[key] = ProcessMetrics(self._collectors, workflow, process)
        return found

    def before_collecting(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Have gauges brought up to date when they are collected, perhaps by another thread; the result ends it."""
        key = object()
        tells = self._collectors.tells
        tells[key] = tell

        def forget() -> None:
            tells.pop(key, None)

        return forget

    def lag(self, workflow: str, process: str, seconds: float, alert_threshold_seconds: float | None = None) -> None:
        """See `ProcessMetrics.lag`."""
        self.process(workflow, process).lag(seconds, alert_threshold_seconds)

    def state(self, workflow: str, process: str, value: int) -> None:
        """See `ProcessMetrics.state`."""
        self.process(workflow, process).state(value)

    def latency(self, workflow: str, process: str, seconds: float) -> None:
        """See `ProcessMetrics.latency`."""
        self.process(workflow, process).latency(seconds)

    def error(self, workflow: str, process: str) -> None:
        """See `ProcessMetrics.error`."""
        self.process(workflow, process).error()

    def skipped(self, workflow: str, process: str, reason: str) -> None:
        """See `ProcessMetrics.skipped`."""
        self.process(workflow, process).skipped(reason)

    def run_state_change(self, workflow: str, previous: str, current: str) -> None:
        """One more committed version that replaced this run state by that one (as text)."""
        key = (workflow, previous, current)
        child = self._changes.get(key)
        if child is None:
            child = self._changes[key] = self._collectors.run_state_changes.labels(*key)
        child.inc()
