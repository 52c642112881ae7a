"""A seeded asyncio loop in virtual time.

Time stands still while anything can run and jumps to the next timer when nothing can. The order in which ready tasks
run is drawn from the seed. A callback that belongs to a dead process is dropped: that is what a kill looks like from
inside, no `finally` runs.
"""

import asyncio
import contextvars
import random
import selectors
from collections.abc import Coroutine
from typing import Any

from anyio._backends._asyncio import CancelScope

PROCESS: contextvars.ContextVar[Any] = contextvars.ContextVar("simulated_process", default=None)
"""Which simulated process a task belongs to; None for the world, its clients and its network."""


class Livelock(Exception):
    """The world kept running without coming to an end."""


class _NoSelector(selectors.BaseSelector):
    """Waits in virtual time only: there is no I/O in the simulated world."""

    def __init__(self) -> None:
        self.loop: SimLoop | None = None

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def get_map(self) -> dict[Any, Any]:
        return {}

    def select(self, timeout: float | None = None) -> list[Any]:
        assert self.loop is not None
        if timeout is None:
            raise Livelock("nothing is ready, and nothing ever will be")
        self.loop.now += max(timeout, 0.0)
        return []


class _Future(asyncio.Future):  # type: ignore[type-arg]
    """Hashes by age, so that sets of futures are walked in the same order in every run of a seed."""

    def __hash__(self) -> int:
        return getattr(self, "number", 0)


class _Task(asyncio.Task):  # type: ignore[type-arg]
    def __hash__(self) -> int:
        return getattr(self, "number", 0)


def _age_of(scope: Any) -> int:
    loop = asyncio._get_running_loop()
    # It has no room for a number of its own. The loop keeps it, so that its id is not given to another one.
    return loop.scopes.setdefault(id(scope), (len(loop.scopes), scope))[0] if isinstance(loop, SimLoop) else 0


# anyio keeps nested cancel scopes in a set too, which is walked at a cancellation.
CancelScope.__hash__ = _age_of  # type: ignore[method-assign]


class SimLoop(asyncio.SelectorEventLoop):
    """The loop; `budget` is how many turns it makes before it declares a livelock."""

    def __init__(self, seed: int, budget: int = 150_000) -> None:
        self.now = 0.0
        self.budget = budget
        self._order = random.Random(seed)
        self._numbers = 0
        self.turns = 0
        self._held_back: list[Any] = []
        self.scopes: dict[int, tuple[int, Any]] = {}
        selector = _NoSelector()
        selector.loop = self
        super().__init__(selector)
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self.now

    def create_future(self) -> "asyncio.Future[Any]":
        future = _Future(loop=self)
        self._number(future)
        return future

    def _number(self, one: Any) -> None:
        self._numbers += 1
        one.number = self._numbers

    def _make_task(self, loop: Any, coro: Coroutine[Any, Any, Any], **more: Any) -> "asyncio.Task[Any]":
        # The task schedules itself while it is made; it is hashed only afterwards, in the registry of all tasks too.
        task = _Task.__new__(_Task)
        self._number(task)
        task.__init__(coro, loop=self, **more)  # type: ignore[misc]
        return task

    def _run_once(self) -> None:
        self.turns += 1
        if self.turns > self.budget:
            raise Livelock(f"still busy at {self.now:.1f} s")
        ready: Any = self._ready  # type: ignore[attr-defined]
        if ready:
            alive = [handle for handle in ready if not _is_dead(handle)]
            if len(alive) < len(ready):
                self._held_back += [handle for handle in ready if _is_dead(handle)]
            if len(alive) > 1:
                self._order.shuffle(alive)
            ready.clear()
            ready.extend(alive)
        super()._run_once()  # type: ignore[misc]

    def raise_the_dead(self) -> None:
        """At the end of the world: hand back what the dead did not get to run, so that they can be cleaned up."""
        self._ready.extend(self._held_back)  # type: ignore[attr-defined]
        self._held_back.clear()


def _is_dead(handle: Any) -> bool:
    process = handle._context.get(PROCESS)
    return process is not None and process.dead
