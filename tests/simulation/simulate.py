"""One seed: build the world, make trouble, and judge what is left."""

import asyncio
import hashlib
import random
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from workflow._engine import commits as _commits
from workflow._processes import finished_versions
from workflow._processes import timeouts_fire as timeout_poller

from .clients import LATE, clients, come_late, listen
from .judge import judge, unfinished
from .loop import Livelock, SimLoop
from .network import Roles, Stream
from .processes import Fleet, build
from .rewind import rewind
from .world import Plan, SimClock, World

BOUND = 900.0
"""Virtual seconds after the last fault in which every runnable run must have finished."""


LAST_TURNS = 50_000
"""Turns of the loop in which all that is left must have ended."""


@dataclass
class Result:
    """What one seed came to."""

    plan: Plan
    complaints: list[str]
    trace: list[str]
    runs: int
    versions: int
    kills: int
    seconds: float

    @property
    def digest(self) -> str:
        """Equal for equal traces: what a seed does must not depend on the interpreter that runs it."""
        return hashlib.sha256("\n".join([*self.trace, *self.complaints]).encode()).hexdigest()


def simulate(seed: int, *, liveness: bool = False, rewinds: bool = False) -> Result:
    """Run one seed from beginning to end; with `rewinds` the store also goes back in time."""
    plan = Plan.draw(seed, liveness=liveness)
    if rewinds:
        plan.rewinds, plan.sweep, plan.schedule = True, True, False
    loop = SimLoop(seed)
    world = World(plan=plan, loop=loop, rng=random.Random(f"world {seed} {liveness}"))
    world.stream, world.roles = Stream(world), Roles(world)
    loop.set_exception_handler(lambda _, context: None)
    asyncio.set_event_loop(loop)
    try:
        # Worlds are too small for two batches that are worth their own transactions; these write two all the same.
        worthwhile = 1 if plan.writers > 1 else _commits.WORTHWHILE
        with (
            patch.object(_commits, "WORTHWHILE", worthwhile),
            patch.object(finished_versions, "REMEMBERED", plan.remembered),
            patch.object(timeout_poller, "CLAIM", timedelta(seconds=plan.claim)),
        ):
            _run(world)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    records = world.records
    versions = sum(len(history) for history in records._history.values())
    return Result(plan, world.complaints, world.trace, len(records._records), versions, world.kills, loop.now)


def _run(world: World) -> None:
    try:
        world.loop.run_until_complete(_life(world))
    except Livelock as error:
        world.complain("livelock", str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this seed's
        world.complain("the world broke", "".join(traceback.format_exception(error)))
    _end(world)


def _end(world: World) -> None:
    """Let every task of every life clean up: what is left would complain when it is collected, in some other test."""
    loop = world.loop
    loop.budget = loop.turns + LAST_TURNS
    with suppress(Livelock):
        loop.run_until_complete(world.fleet.bury())
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]


async def _life(world: World) -> None:
    plan = world.plan
    fleet = world.fleet = Fleet(world)
    for index in range(plan.processes):
        fleet.start(index)
    client = build(world, fleet.program, None, SimClock(world.loop, 0.0), f"{plan.seed} client")
    rewinding = [rewind(world)] if plan.rewinds else []
    async with _going(clients(world, client), _trouble(world, fleet), *rewinding):
        await asyncio.sleep(plan.trouble)
        if plan.liveness:
            world.healed, world.healed_at = True, world.loop.time()
            world.note("healed")
            async with _going(*_listeners(world, client)):
                await _recover(world)
    await judge(world, client)


@asynccontextmanager
async def _going(*loops: Any) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(one) for one in loops]
    yield
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    await asyncio.wait(tasks)


def _listeners(world: World, client: Any) -> list[Any]:
    late = [come_late(world, client, after) for after in LATE]
    return late + [
        listen(world, client, run_id, patient)
        for run_id in list(world.records._records)
        for patient in (True, True, False, False)
    ]


async def _recover(world: World) -> None:
    until, quiet = world.loop.time() + BOUND, 0
    while world.loop.time() < until:
        await asyncio.sleep(5)
        # A client may still trigger a run, and hooks run after the fact.
        world.watch.sleeping()
        quiet = 0 if unfinished(world) else quiet + 1
        if quiet > 4:
            return
    for why in unfinished(world):
        world.complain("stuck", why)


# -- trouble --------------------------------------------------------------------------------------------------


async def _trouble(world: World, fleet: Fleet) -> None:
    plan = world.plan
    async with asyncio.TaskGroup() as group:
        for every, what in (
            (plan.crashes, _crash),
            (plan.stops, _stop),
            (plan.lost_leases, _lose),
            (6.0 if plan.skew else 0.0, _set_clock),
            (plan.trouble / 2 if plan.wipes else 0.0, _wipe),
        ):
            if every:
                group.create_task(_again(world, fleet, every, what, group))


async def _again(world: World, fleet: Fleet, every: float, what: Any, group: asyncio.TaskGroup) -> None:
    while True:
        await asyncio.sleep(world.rng.expovariate(1 / every))
        if world.healed:
            return
        what(world, fleet, group)


def _somebody(world: World, fleet: Fleet) -> Any:
    return world.rng.choice(list(fleet.alive.values())) if fleet.alive else None


def _crash(world: World, fleet: Fleet, group: asyncio.TaskGroup) -> None:
    if process := _somebody(world, fleet):
        fleet.kill(process)


def _stop(world: World, fleet: Fleet, group: asyncio.TaskGroup) -> None:
    if process := _somebody(world, fleet):
        group.create_task(fleet.stop(process))


def _lose(world: World, fleet: Fleet, group: asyncio.TaskGroup) -> None:
    if world.roles.held:
        world.roles.lose(world.rng.choice(sorted(world.roles.held)), world.rng.choice((0.0, 0.5, 20.0)))


def _set_clock(world: World, fleet: Fleet, group: asyncio.TaskGroup) -> None:
    if process := _somebody(world, fleet):
        process.clock.offset = world.rng.uniform(-world.plan.skew, world.plan.skew)


def _wipe(world: World, fleet: Fleet, group: asyncio.TaskGroup) -> None:
    world.note("the stream is wiped")
    world.stream.wipe()
