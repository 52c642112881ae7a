"""Metrics: names, labels, help texts, and registries that are shared."""

import gc
from weakref import ref

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from workflow._engine.metrics import Metrics

PROCESS = {"workflow_name": "w", "process_name": "p"}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, PROCESS | labels)


def test_lag_and_its_alert() -> None:
    """R-METRIC-1, R-METRIC-2: only with a threshold above 0, and strictly more than it."""
    metrics = Metrics()
    metrics.lag("w", "p", 5.0)
    metrics.lag("w", "p", 6.0, 0.0)
    assert value(metrics, "workflow_process_lag_seconds") == 6.0
    assert value(metrics, "workflow_process_lag_alert") is None
    metrics.lag("w", "p", 10.0, 10.0)
    assert value(metrics, "workflow_process_lag_alert") == 0
    metrics.lag("w", "p", 10.1, 10.0)
    assert value(metrics, "workflow_process_lag_alert") == 1


def test_state_error_skipped() -> None:
    """R-METRIC-3, R-METRIC-5, R-METRIC-6."""
    metrics = Metrics()
    metrics.state("w", "p", 3)
    metrics.error("w", "p")
    metrics.error("w", "p")
    metrics.skipped("w", "p", "filtered out")
    assert value(metrics, "workflow_process_states") == 3
    assert value(metrics, "workflow_process_error_count_total") == 2
    assert value(metrics, "workflow_process_skipped_events_count_total", reason="filtered out") == 1
    assert value(metrics, "workflow_process_skipped_events_count_total", reason="record stopped") is None


def test_latency_buckets() -> None:
    """R-METRIC-4."""
    metrics = Metrics()
    metrics.latency("w", "p", 0.05)
    metrics.latency("w", "p", 20.0)
    counts = {
        le: value(metrics, "workflow_process_latency_seconds_bucket", le=le)
        for le in ("0.01", "0.1", "1.0", "5.0", "10.0", "60.0", "300.0", "+Inf")
    }
    assert list(counts.values()) == [0, 1, 1, 1, 1, 2, 2, 2]
    assert value(metrics, "workflow_process_latency_seconds_sum") == pytest.approx(20.05)


def test_run_state_changes() -> None:
    """R-METRIC-7."""
    metrics = Metrics()
    metrics.run_state_change("w", "Initiated", "Running")
    metrics.run_state_change("w", "Initiated", "Running")
    labels = {"workflow_name": "w", "previous_run_state": "Initiated", "current_run_state": "Running"}
    assert metrics.registry.get_sample_value("workflow_run_state_changes_total", labels) == 2


def test_help_texts() -> None:
    """R-METRIC-8."""
    helps = {family.name: family.documentation for family in Metrics().registry.collect()}
    assert helps == {
        "workflow_process_lag_seconds": "lag between now and the current event timestamp in seconds",
        "workflow_process_lag_alert": "Whether or not the consumer lag crosses its alert threshold",
        "workflow_process_handlers_in_flight": "Number of handlers that run now",
        "workflow_process_oldest_handler_seconds": "Time since the oldest handler that runs now was called, in seconds",
        "workflow_process_states": "The current states of all the processes",
        "workflow_process_latency_seconds": "Event loop latency in seconds",
        "workflow_process_error_count": "Number of errors processing events",
        "workflow_process_skipped_events_count": "Number of events skipped by consumer",
        "workflow_run_state_changes": "The number of workflow run state changes going from state to a new state",
    }


def test_a_process_bound_once_updates_the_same_metrics() -> None:
    metrics = Metrics()
    bound = metrics.process("w", "p")
    bound.lag(1.0, 0.5)
    bound.state(2)
    bound.latency(0.5)
    bound.error()
    bound.skipped("record stopped")
    metrics.error("w", "p")
    assert value(metrics, "workflow_process_lag_seconds") == 1.0
    assert value(metrics, "workflow_process_lag_alert") == 1
    assert value(metrics, "workflow_process_states") == 2
    assert value(metrics, "workflow_process_latency_seconds_count") == 1
    assert value(metrics, "workflow_process_error_count_total") == 2
    assert value(metrics, "workflow_process_skipped_events_count_total", reason="record stopped") == 1


def test_nothing_appears_before_its_first_value() -> None:
    metrics = Metrics()
    metrics.process("w", "p")
    assert b"process_name" not in generate_latest(metrics.registry)


def test_two_workflows_share_the_collectors_of_one_registry() -> None:
    registry = CollectorRegistry()
    first, second = Metrics(registry), Metrics(registry)
    first.error("w", "p")
    second.error("w", "p")
    second.error("other", "p")
    assert registry.get_sample_value("workflow_process_error_count_total", PROCESS) == 2
    assert first.registry is registry


def test_without_a_registry_each_has_its_own() -> None:
    first, second = Metrics(), Metrics(None)
    first.error("w", "p")
    assert value(second, "workflow_process_error_count_total") is None


def test_a_private_registry_is_not_kept_alive() -> None:
    metrics = Metrics()
    metrics.process("w", "p").error()
    registry = ref(metrics.registry)
    del metrics
    gc.collect()
    assert registry() is None
