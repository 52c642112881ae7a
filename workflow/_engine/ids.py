"""Where ids and jitter come from, so that a simulation can replay them."""

import os
import random
import uuid
import weakref


class IdSource:
    """Random numbers and ids. Without a seed they come from the system.

    Args:
        seed: makes every draw repeatable; for tests and simulations only.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed(seed)
        if seed is None:
            _unseeded.add(self)

    def _seed(self, seed: int | None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - ids and jitter, no secrets
        self._prefix = f"{self._random.getrandbits(64):016x}"
        self._count = 0

    def draw(self) -> float:
        """A number from [0, 1)."""
        return self._random.random()

    def run_id(self) -> str:
        """A random UUID (version 4)."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def attempt_id(self) -> str:
        """An id that no other attempt, in any process, ever has."""
        self._count += 1
        return f"{self._prefix}-{self._count:x}"

    @property
    def process_id(self) -> str:
        """Names this engine among all processes."""
        return self._prefix


_unseeded: "weakref.WeakSet[IdSource]" = weakref.WeakSet()


def _after_fork() -> None:
    # A forked process that went on with its parent's numbers would repeat the parent's attempt ids.
    for ids in _unseeded:
        ids._seed(None)  # noqa: SLF001 - the same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
