"""How a bug is planted, and in which worlds it can show."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from ..world import Plan

Bug = Callable[[], AbstractContextManager[None]]
Needs = Callable[[Plan], object]

BUGS: dict[str, Bug] = {}
_NEEDS: dict[str, Needs] = {}


def bug(name: str, needs: Needs | None = None) -> Callable[[Callable[[], Iterator[None]]], Bug]:
    """Name a context in which the bug is there.

    Args:
        needs: says of a seed's plan whether the bug can show in it at all.
    """

    def keep(fn: Callable[[], Iterator[None]]) -> Bug:
        BUGS[name] = contextmanager(fn)
        if needs is not None:
            _NEEDS[name] = needs
        return BUGS[name]

    return keep


def relevant(name: str, plan: Plan) -> bool:
    """Leaves out seeds that have nothing to do with a bug, to find it sooner; they are seeds like all others."""
    needs = _NEEDS.get(name)
    return needs is None or bool(needs(plan))


def stuck_without_sweeper(plan: Plan) -> bool:
    """What is lost here stays lost, and is missed in the end."""
    return plan.liveness and not plan.sweep
