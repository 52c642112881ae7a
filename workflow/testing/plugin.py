"""A pytest plugin with fixtures for tests of workflows; it works under pytest-asyncio and under anyio.

The fixtures are plain functions, so that they belong to no event loop.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from .._facade.workflow import Workflow
from ..protocols import Backend
from ._fake_clock import FakeClock


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that stands at 2025-01-01 00:00 UTC until the test moves it."""
    return FakeClock()


@pytest.fixture
def memory_backend() -> Backend:
    """A backend of its own for each test, in memory."""
    from workflow_adapters.memory import MemoryBackend

    return MemoryBackend()


@pytest.fixture
def run_workflow() -> Callable[[Workflow[Any, Any]], AbstractAsyncContextManager[Workflow[Any, Any]]]:
    """Runs a workflow inside `async with run_workflow(wf) as wf:`, stopped when the block is left."""

    def run(wf: Workflow[Any, Any]) -> AbstractAsyncContextManager[Workflow[Any, Any]]:
        return wf.running()

    return run
