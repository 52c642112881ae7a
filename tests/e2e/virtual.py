"""Running a test in virtual time: half an hour of waiting takes no time, and nothing depends on the machine."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from tests.simulation.loop import SimLoop
from tests.simulation.world import SimClock


def virtually(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` on a loop whose time jumps to the next timer when nothing can run."""
    loop = SimLoop(seed=1)
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(work)
        assert not asyncio.all_tasks(loop), "the test left tasks behind"
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def clock() -> SimClock:
    """The time of the running loop, for an engine."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimLoop)
    return SimClock(loop, 0.0)
