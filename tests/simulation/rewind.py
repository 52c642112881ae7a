"""The store goes back in time while processes live, as when a standby takes over that had lost the last seconds.

What was acknowledged in those seconds is lost, and no engine can change that; so of the rules only these are left:
every run that the store has comes to its end, and its history is sound.
"""

import asyncio
import copy
from typing import Any

from .world import World

_OF_THE_LOOP = ("_signals", "_kinds", "_outbox", "_dead_letters", "_held")


class _Snapshot:
    """What the store has at one moment; in half of the worlds the stream goes back with it, in the others it stays."""

    def __init__(self, world: World) -> None:
        self._parts = [(store, self._copied(store)) for store in (world.records, world.timeouts)]
        stream = world.stream
        self._stream = (copy.deepcopy(stream.events), dict(stream.cursors)) if world.rng.random() < 0.5 else None

    @staticmethod
    def _copied(store: Any) -> dict[str, Any]:
        # At once: what its parts share, they share in the copy.
        return copy.deepcopy({name: value for name, value in vars(store).items() if name not in _OF_THE_LOOP})

    def restore(self, world: World) -> None:
        for store, values in self._parts:
            vars(store).update(values)
        if self._stream is not None:
            world.stream.events, world.stream.cursors = self._stream
            world.stream.resets += 1
        world.told.clear()


async def rewind(world: World) -> None:
    """Go back some seconds, once or twice, while there is trouble."""
    for _ in range(world.rng.choice((1, 2))):
        await asyncio.sleep(world.rng.uniform(2.0, world.plan.trouble / 2 - 6.0))
        snapshot = _Snapshot(world)
        await asyncio.sleep(world.rng.uniform(0.5, 6.0))
        if world.healed:
            return
        world.note("the store goes back in time")
        snapshot.restore(world)
