"""Where a run was triggered: the caller's code only."""

import inspect

import workflow
from workflow._verbs.call_site import trace_origin


def test_the_origin_of_a_trigger_is_the_callers_code_only() -> None:
    """R-TRIGGER-10."""
    origin = trace_origin()
    assert origin.splitlines()[0].startswith(f"{__file__}:")
    assert "test_the_origin_of_a_trigger" in origin.splitlines()[0]
    assert len(origin) <= 4096


def test_a_caller_whose_path_reads_like_ours_is_not_hidden() -> None:
    own = inspect.getfile(workflow).removesuffix("__init__.py").rstrip("/")
    for path in (f"{own}_service/main.py", "/srv/my-asyncio-app/main.py", "/srv/caf\udce9/main.py"):
        scope: dict[str, object] = {"trace_origin": trace_origin}
        exec(compile("def call():\n    return trace_origin()\n", path, "exec"), scope)
        origin = scope["call"]()  # type: ignore[operator]
        assert origin.splitlines()[0].endswith("main.py:2 call")
        origin.encode()
