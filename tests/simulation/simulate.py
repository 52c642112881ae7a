"""One seed: build the world, make trouble, and judge what is left."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from workflow._runstate import RunState
from workflow.errors import Conflict, OutcomeUnknown, Unavailable, WorkflowError, WorkflowInProgress

from .judge import judge, unfinished
from .loop import Livelock, SimLoop
from .network import Roles, Stream
from .processes import Fleet, build
from .programs import KINDS, Job, Status
from .world import Plan, SimClock, World

BOUND = 900.0
"""Virtual seconds after the last fault in which every runnable run must have finished."""


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


def simulate(seed: int, *, liveness: bool) -> Result:
    """Run one seed from beginning to end."""
    plan = Plan.draw(seed, liveness=liveness)
    loop = SimLoop(seed)
    world = World(plan=plan, loop=loop, rng=random.Random(f"world {seed} {liveness}"))
    world.stream, world.roles = Stream(world), Roles(world)
    loop.set_exception_handler(lambda _, context: None)
    asyncio.set_event_loop(loop)
    try:
        try:
            loop.run_until_complete(_life(world))
        except Livelock as error:
            world.complain("livelock", str(error))
        _end(loop)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    records = world.records
    versions = sum(len(history) for history in records._history.values())
    return Result(plan, world.complaints, world.trace, len(records._records), versions, world.kills, loop.now)


def _end(loop: SimLoop) -> None:
    """After a livelock tasks are left: they must not complain when they are collected."""
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]


async def _life(world: World) -> None:
    plan = world.plan
    fleet = Fleet(world)
    for index in range(plan.processes):
        fleet.start(index)
    client = build(world, fleet.program, None, SimClock(world.loop, 0.0), f"{plan.seed} client")
    async with _going(_clients(world, client), _trouble(world, fleet)):
        await asyncio.sleep(plan.trouble)
        if plan.liveness:
            world.healed = True
            world.note("healed")
            await _recover(world)
    await judge(world, client)
    await fleet.bury()


@asynccontextmanager
async def _going(*loops: Any) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(one) for one in loops]
    yield
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    await asyncio.wait(tasks)


async def _recover(world: World) -> None:
    until, quiet = world.loop.time() + BOUND, 0
    while world.loop.time() < until:
        await asyncio.sleep(5)
        # A client may still trigger a run, and hooks run after the fact.
        quiet = 0 if unfinished(world) else quiet + 1
        if quiet > 4:
            return
    for why in unfinished(world):
        world.complain("stuck", why)


# -- clients --------------------------------------------------------------------------------------------------


async def _clients(world: World, client: Any) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(world.plan.runs):
            group.create_task(_trigger(world, client, number, world.rng.choice(KINDS)))
        if world.plan.poison:
            group.create_task(_trigger(world, client, 100, "poison"))
        if world.plan.spinner:
            group.create_task(_trigger(world, client, 101, "spinner"))
            for number in (102, 103):
                group.create_task(_trigger(world, client, number, "bystander"))
        if world.plan.sleeper:
            group.create_task(_put_to_sleep(world, client))
        group.create_task(_answer(world, client))
        group.create_task(_meddle(world, client))


async def _trigger(world: World, client: Any, number: int, kind: str) -> None:
    await asyncio.sleep(world.rng.uniform(0, world.plan.trouble / 3))
    run_id = f"{kind}-{number}"
    foreign_id = f"f{number % 6}" if number < 100 else f"f{number}"
    for _ in range(40):
        try:
            await client.trigger(foreign_id, Job(kind=kind), run_id=run_id)
        except WorkflowInProgress as error:
            if error.run_id == run_id:
                world.complain("a run stands in its own way", run_id)
        except Conflict as error:
            world.complain("its own trigger is a conflict", f"{run_id}: {error}")
            return
        except (Unavailable, OutcomeUnknown):
            pass
        else:
            return
        await asyncio.sleep(world.rng.uniform(0.5, 5))


async def _put_to_sleep(world: World, client: Any) -> None:
    """Runs whose timers are due and stay due, because nobody resumes them."""
    for number in range(2):
        run_id = f"sleeper-{number}"
        while run_id not in world.records._records:
            start = client.trigger(run_id, Job(kind="wait"), run_id=run_id, starting_point=Status.WAIT)
            await _quietly(start)
        while world.records._records[run_id].run_state is not RunState.PAUSED:
            await asyncio.sleep(0.5)
            await _quietly(client.pause(run_id, "sleeps"))
            if world.records._records[run_id].run_state.finished:
                break


async def _answer(world: World, client: Any) -> None:
    while True:
        await asyncio.sleep(world.rng.uniform(0.5, 3))
        for record in list(world.records._records.values()):
            if record.status == Status.ASK and record.run_state.live:
                await _quietly(client.callback(record.foreign_id, Status.ASK, run_id=record.run_id))
            if (
                world.healed
                and record.run_state is RunState.PAUSED
                and not record.run_id.startswith(("poison", "sleeper"))
            ):
                await _quietly(client.resume(record.run_id))


async def _meddle(world: World, client: Any) -> None:
    while world.plan.verbs and not world.healed:
        await asyncio.sleep(world.rng.expovariate(1 / world.plan.verbs))
        runs = [run_id for run_id in world.records._records if not run_id.startswith(("poison", "sleeper"))]
        if runs and not world.healed:
            verb = world.rng.choice((client.pause, client.pause, client.resume, client.cancel, client.delete_data))
            await _quietly(verb(world.rng.choice(runs)))


async def _quietly(call: Any) -> None:
    # Being too late, or refused, is part of a client's life; what counts is what the store says in the end.
    with suppress(WorkflowError):
        await call


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
