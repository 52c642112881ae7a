"""Tables in the docs say what the code says."""

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from workflow import Backoff, Builder, BuildError, Options, OutboxOptions, RunState, errors
from workflow._engine.metrics import Metrics
from workflow._model.run import Run
from workflow._model.run_state import TRANSITIONS
from workflow.options import DEFAULTS
from workflow.verify import Report
from workflow.verify.rules import Rule
from workflow_adapters.memory import MemoryBackend, MemoryConnector

ROOT = Path(__file__).parents[2]


def section(page: str, title: str) -> str:
    """The part of a page under a heading, to the next heading of any level."""
    text = (ROOT / "docs" / page).read_text()
    assert f"\n{title}\n" in text, title
    return re.split(r"^#+ ", text.partition(f"\n{title}\n")[2], flags=re.MULTILINE)[0]


def rows(page: str, title: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    lines = [line for line in section(page, title).splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def shown(value: object) -> str:
    """A default as the tables write it."""
    if value is None:
        return "none"
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        if 0 < seconds < 1:
            return f"{seconds * 1000:g} ms"
        for unit, size in (("h", 3600), ("min", 60)):
            if seconds and seconds % size == 0:
                return f"{seconds / size:g} {unit}"
        return f"{seconds:g} s"
    return "Backoff()" if isinstance(value, Backoff) else str(value)


@pytest.mark.parametrize(
    ("title", "defaults"), [("## Options", DEFAULTS), ("## Backoff", Backoff()), ("## OutboxOptions", OutboxOptions())]
)
def test_the_tables_of_options_name_every_option_with_its_default(
    title: str, defaults: Options | Backoff | OutboxOptions
) -> None:
    """R-OPTTAB-1 to R-OPTTAB-9."""
    found = {row[0]: row[1] for row in rows("options.md", title)}
    assert found == {field.name: shown(getattr(defaults, field.name)) for field in fields(defaults)}


def test_the_table_of_building_names_every_argument_and_its_default() -> None:
    found = {row[0]: row[1] for row in rows("options.md", "## Building")}
    parameters = list(inspect.signature(Builder.build).parameters.values())[2:]
    assert list(found) == [parameter.name for parameter in parameters]
    for parameter in parameters:
        if isinstance(parameter.default, timedelta | bool):
            assert found[parameter.name] == shown(parameter.default)


class Status(IntEnum):
    A = 1
    B = 2


SET = {
    "parallel_count": Options(parallel_count=2),
    "polling_frequency": Options(polling_frequency=timedelta(seconds=2)),
    "err_back_off": Options(err_back_off=timedelta(seconds=2)),
    "lag_alert": Options(lag_alert=timedelta(seconds=2)),
    "consume_lag": Options(consume_lag=timedelta(seconds=2)),
    "pause_after_err_count": Options(pause_after_err_count=2),
    "max_in_flight": Options(max_in_flight=2),
    "timeout": Options(timeout=timedelta(seconds=2)),
}


def refused(declare: Callable[[Builder[Any, Any]], object]) -> bool:
    builder = Builder("options", dict, Status)
    builder.step(Status.A, to=Status.B)(lambda run: Status.B)
    declare(builder)
    try:
        builder.build(MemoryBackend())
    except BuildError:
        return True
    return False


@pytest.mark.parametrize("row", rows("options.md", "## Options"), ids=lambda row: row[0])
def test_what_the_table_calls_refused_is_refused(row: list[str]) -> None:
    """R-BUILD-7, R-BUILD-8."""
    options = SET[row[0]]
    timer, source = timedelta(1), MemoryConnector()
    by_timeout = refused(lambda b: b.timeout(Status.A, timer, to=Status.B, options=options)(lambda run, now: Status.B))
    by_connector = refused(lambda b: b.connector("c", source, options=options)(lambda wf, event: None))
    assert [by_timeout, by_connector] == [cell == "refused" for cell in row[4:]]


def test_the_table_of_metrics_is_what_a_registry_shows() -> None:
    """R-METRIC-1 to R-METRIC-7."""
    registry = CollectorRegistry()
    Metrics(registry)
    kinds = {family.name: family.type for family in registry.collect()}
    found = {row[0].removesuffix("_total"): row[1] for row in rows("observability.md", "## Metrics")}
    assert found == kinds


def test_every_rule_of_the_checker_is_in_its_table() -> None:
    found = {row[0]: row[1] for row in rows("verify.md", "## What it checks")}
    assert found == {rule.name: rule.value for rule in Rule}
    for name in ("runs", "versions", "by_status", "by_run_state", "violations", "ok"):
        assert hasattr(Report, name)


def test_every_error_that_users_meet_is_in_the_table_of_errors() -> None:
    listed = {row[0] for row in rows("verbs.md", "## Errors")}
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.WorkflowError) and value is not errors.WorkflowError
    }
    adapters_own = {"TimeoutNotFound", "OutboxEventNotFound", "EventsRefused"}
    assert listed == defined - adapters_own
    for name, also, _ in rows("verbs.md", "## Errors"):
        builtins = {base.__name__ for base in getattr(errors, name).__bases__ if base is not errors.WorkflowError}
        assert builtins == ({also} if also else set()), name


def test_every_attribute_of_a_run_is_named() -> None:
    page = section("verbs.md", "## Reading")
    attributes = {name for name in dir(Run) if not name.startswith("_")}
    decisions = {"skip", "pause", "cancel", "save_and_repeat", "on_commit"}
    assert {name for name in attributes - decisions if f"`{name}`" not in page} == set()


def test_the_table_of_run_states_is_the_one_in_the_code() -> None:
    """R-STATE-1, with Initiated to Cancelled allowed."""
    written = {row[0]: set(row[1].split(", ")) for row in rows("concepts.md", "## Run states")}
    assert written == {
        str(origin): {str(state) for state in states} for origin, states in TRANSITIONS.items() if states
    }


def test_verbs_apply_from_the_run_states_that_the_table_says() -> None:
    """R-STATE-1."""
    reached = {
        "pause": RunState.PAUSED,
        "cancel": RunState.CANCELLED,
        "delete_data": RunState.REQUESTED_DATA_DELETED,
    }
    for row in rows("verbs.md", "## Stopping and erasing"):
        verb = row[0].partition("(")[0]
        if verb in reached:
            allowed = {str(state).lower() for state, then in TRANSITIONS.items() if reached[verb] in then}
            assert set(row[1].split(", ")) == allowed - {"data deleted"}


# The public names of the reference (R-API-1 to R-API-9).
GO_NAMES = """
    NewBuilder AddStep AddCallback AddTimeout AddConnector OnPause OnCancel OnComplete Build WithOptions
    ParallelCount PollingFrequency ErrBackOff LagAlert ConsumeLag PauseAfterErrCount
    WithTimeoutStore WithClock WithDebugMode WithLogger WithDefaultOptions WithOutboxOptions OutboxPollingFrequency
    OutboxErrBackOff OutboxLagAlert OutboxLookupLimit WithCustomDelete WithPauseRetry DisablePauseRetry WithoutOutbox
    WithErrorCounter WithInitialValue WithStartingPoint WithScheduleInitialValue WithScheduleFilter
    WithAwaitPollingFrequency WithReceiverPollFrequency StreamFromLatest
    FilterByForeignID FilterByStatus FilterByRunState FilterByCreatedAtAfter FilterByCreatedAtBefore MakeFilter
    Name Trigger Schedule Await Callback Run Stop States Skip Pause Cancel SaveAndRepeat Resume DeleteData
    Marshal Unmarshal MakeOutboxEventData NewRunStateController Topic DeleteTopic RunStateChangeTopic FilterUsing
    FilterConnectorEventUsing DurationTimerFunc TimeTimerFunc CreateDiagram Require WaitFor TriggerCallbackOn
    AwaitTimeoutInsert NewTestingRun ErrRecordNotFound ErrTimeoutNotFound ErrWorkflowInProgress
    ErrOutboxRecordNotFound ErrInvalidTransition
"""


def test_every_name_of_the_reference_is_in_the_page_for_those_who_come_from_it() -> None:
    """R-API-1 to R-API-9."""
    page = (ROOT / "docs" / "coming_from_go.md").read_text()
    firsts = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| "))
    assert [name for name in GO_NAMES.split() if not re.search(rf"\b{name}\b", firsts)] == []
