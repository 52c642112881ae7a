"""Questions that make no sense are answered by a clear error that names the argument."""

from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

import pytest

from tests.e2e.model import PATIENCE, Status, waiting
from workflow import (
    RunState,
    StatusNotConfigured,
    WaitTimeout,
)
from workflow.protocols import Backend

pytestmark = pytest.mark.usefixtures("tails_do_not_linger")

BAD_LISTINGS: tuple[dict[str, Any], ...] = (
    {"foreign_ids": "key"},
    {"foreign_ids": None},
    {"foreign_ids": [1]},
    {"statuses": Status.A},
    {"run_states": RunState.PAUSED},
    {"run_states": ["Paused"]},
    {"run_states": [3]},
    {"created_after": datetime(2025, 1, 1)},
    {"created_before": "2025-01-01"},
    {"order": "asc"},
    {"offset": -1},
    {"offset": 2**63},
    {"limit": 0},
    {"limit": None},
    {"limit": 1.5},
    {"limit": True},
    {"limit": 10**30},
    {"cursor": ""},
    {"cursor": 5},
    {"cursor": "a cursor of another store"},
    {"foreign_id_prefix": None},
    {"foreign_id_prefix": "x" * 1001},
    {"updated_after": datetime(2025, 1, 1)},
    {"updated_before": 5},
    {"failing": 1},
)


class Stranger(IntEnum):
    A = 1


async def test_a_status_outside_of_the_graph_is_refused(backend: Backend) -> None:
    """R-TRIGGER-3, R-TESTING-4."""
    wf = waiting("outside").build(backend)
    with pytest.raises(StatusNotConfigured, match=r"Status\.D"):
        await wf.trigger("key", starting_point=Status.D)
    with pytest.raises(StatusNotConfigured, match=r"Status\.D"):
        await wf.wait_for("key", Status.D)
    with pytest.raises(StatusNotConfigured, match="no callback"):
        await wf.callback("key", Status.B)
    assert not await wf.list(statuses=[Status.D])


@pytest.mark.parametrize("timeout", [1, 0.5, "1s"], ids=repr)
async def test_a_wait_needs_a_duration_with_a_unit(backend: Backend, timeout: Any) -> None:
    wf = waiting("waits").build(backend)
    with pytest.raises(TypeError, match="timeout must be a timedelta"):
        await wf.wait_for("key", Status.B, timeout=timeout)
    with pytest.raises(WaitTimeout) as caught:
        await wf.wait_for("key", Status.B, timeout=timedelta(seconds=-1))
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.foreign_id, caught.value.wanted) == ("key", Status.B)


async def test_a_listing_names_the_argument_that_it_cannot_use(backend: Backend) -> None:
    wf = waiting("listing").build(backend)
    for arguments in BAD_LISTINGS:
        with pytest.raises((TypeError, ValueError), match=next(iter(arguments))):
            await wf.list(**arguments)


async def test_a_count_names_the_argument_that_it_cannot_use(backend: Backend) -> None:
    wf = waiting("counting").build(backend)
    counts: tuple[dict[str, Any], ...] = ({"cap": 0}, {"cap": None}, {"statuses": [1]}, {"failing": "yes"})
    for arguments in counts:
        with pytest.raises((TypeError, ValueError, StatusNotConfigured), match=next(iter(arguments))[:6]):
            await wf.count(**arguments)


async def test_a_history_names_the_argument_that_it_cannot_use(backend: Backend) -> None:
    wf = waiting("histories").build(backend)
    run_id = await wf.trigger("key")
    pages: tuple[dict[str, Any], ...] = ({"after": -1}, {"after": "1"}, {"limit": 0}, {"limit": 1.5})
    for arguments in pages:
        with pytest.raises((TypeError, ValueError), match=next(iter(arguments))):
            await wf.history(run_id, **arguments)


@pytest.mark.parametrize("statuses", [[], (), {Status.A, Status.D}, [Stranger.A], "A"], ids=repr)
async def test_a_wait_needs_statuses_of_the_graph(backend: Backend, statuses: Any) -> None:
    wf = waiting("wanted").build(backend)
    with pytest.raises((ValueError, StatusNotConfigured), match="status"):
        await wf.wait_for("key", statuses, timeout=PATIENCE)
