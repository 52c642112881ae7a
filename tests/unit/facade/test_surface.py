"""The public surface: every verb and declaration, with its parameters and defaults."""

import inspect
from datetime import timedelta
from typing import get_type_hints

import pytest

import workflow


@pytest.mark.parametrize("name", ["Workflow", "Builder"])
def test_the_public_surface_is_what_the_design_names(name: str) -> None:
    """R-API-1 to R-API-8: every verb and declaration, with its parameters and defaults."""
    wanted = {
        "Workflow": {
            "run": "()",
            "running": "()",
            "stop": "(drain)",
            "states": "()",
            "trigger": "(foreign_id, initial_value, *, starting_point, run_id, start_at, actor)",
            "schedule": "(foreign_id, spec, *, timezone, initial_value, filter)",
            "callback": "(foreign_id, status, payload, *, run_id, actor)",
            "wait_for": "(foreign_id, status, *, run_id, timeout)",
            "wait_until_finished": "(foreign_id, *, run_id, timeout)",
            "get": "(run_id)",
            "latest": "(foreign_id)",
            "list": "(*, order, cursor, offset, limit, conditions)",
            "count": "(*, cap, conditions)",
            "counts": "()",
            "history": "(run_id, *, after, limit)",
            "pause": "(run_id, reason, *, actor, version)",
            "resume": "(run_id, reason, *, actor, version)",
            "cancel": "(run_id, reason, *, actor, version)",
            "delete_data": "(run_id, reason, *, actor, version)",
        },
        "Builder": {
            "step": "(from_status, *, to, options)",
            "callback": "(from_status, *, to)",
            "timeout": "(from_status, timer, *, to, options)",
            "connector": "(name, source, *, options)",
            "schedule": "(foreign_id, spec, *, timezone, initial_value, filter)",
        },
    }[name]
    for method, parameters in wanted.items():
        assert _parameters(getattr(getattr(workflow, name), method)) == parameters, method
    assert get_type_hints(workflow.RunFilter).keys() == {
        *("foreign_ids", "foreign_id_prefix", "statuses", "run_states", "failing"),
        *("created_after", "created_before", "updated_after", "updated_before"),
    }
    build = inspect.signature(workflow.Builder.build).parameters
    for argument in (
        "default_options",
        "outbox_options",
        "custom_delete",
        "clock",
        "codec",
        "logger",
        "starting_point",
    ):
        assert build[argument].kind is inspect.Parameter.KEYWORD_ONLY
    assert build["pause_retry"].default == timedelta(hours=1)
    assert build["outbox"].default is True


def _parameters(fn: object) -> str:
    parts = []
    star = False
    for parameter in list(inspect.signature(fn).parameters.values())[1:]:  # type: ignore[arg-type]
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not star:
            star = True
            parts.append("*")
        parts.append(parameter.name)
    return f"({', '.join(parts)})"


def test_every_public_name_is_there_and_none_is_listed_twice() -> None:
    assert len(set(workflow.__all__)) == len(workflow.__all__)
    assert [name for name in workflow.__all__ if not hasattr(workflow, name)] == []
    written_by_users = {
        *("Next", "Filter", "RunFilter", "TimerSpec", "OnCommit", "Page", "Count", "StatusCount", "VersionCause"),
        *("StepDecorator", "CallbackDecorator", "TimeoutDecorator", "ConnectorDecorator", "HookDecorator"),
    }
    assert written_by_users <= set(workflow.__all__)
