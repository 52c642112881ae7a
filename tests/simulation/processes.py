"""Simulated processes: one engine each, over the shared world; they start, are killed, are stopped, and come back."""

import asyncio
import contextvars
import logging
from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from workflow import IdSource, OutboxOptions, Workflow
from workflow._model.change import Change, NewVersion, Outcome
from workflow.protocols import Backend

from .loop import PROCESS
from .network import OUTSIDE, SimRoles, SimStream
from .ports import SimRecords, SimTimeouts
from .programs import Program, defaults
from .world import SimClock, World

DRAIN = timedelta(seconds=2)
STOPPED_WITHIN = 90.0
"""Seconds in which a stop must be through, whatever the store does meanwhile."""

SILENT = logging.getLogger("simulated workflow")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False
SILENT.setLevel(logging.CRITICAL)
AFTER = timedelta(seconds=10)
SELDOM = timedelta(minutes=1)
"""So seldom that a lost wake-up is noticed."""
RETRY = timedelta(seconds=20)
NEVER = timedelta(days=365)


def build(world: World, program: Program, owner: Any, clock: SimClock, seed: str) -> Workflow[Any, Any]:
    """A workflow on this owner's ports; what it takes for durable is noted."""
    backend = Backend(
        SimRecords(world, owner), SimStream(world, owner), SimRoles(world, owner), SimTimeouts(world, owner)
    )
    flow = program.builder().build(
        backend,
        default_options=defaults(world),
        outbox_options=OutboxOptions(polling_frequency=SELDOM, limit=world.plan.page),
        pause_retry=RETRY if world.plan.retry else None,
        custom_delete=program.keep,
        sweep_after=AFTER if world.plan.sweep else NEVER,
        clock=clock,
        ids=IdSource(int.from_bytes(seed.encode(), "big")),
        registry=CollectorRegistry(),
        logger=SILENT,
    )
    commits: Any = flow._engine.commits
    apply = commits.apply

    async def told(change: Change, *more: Any) -> Outcome:
        outcome: Outcome = await apply(change, *more)
        if outcome.ok and isinstance(change, NewVersion):
            world.told.append((change.record.run_id, change.record.version, change.record.attempt_id))
        return outcome

    commits.apply = told
    return flow


class SimProcess:
    """One life of one process."""

    def __init__(self, world: World, program: Program, index: int, life: int) -> None:
        self.world, self.index, self.life = world, index, life
        self.name = f"p{index}.{life}"
        self.dead = False
        self.killed = False
        self.stopped_at: float | None = None
        plan = world.plan
        self.clock = SimClock(world.loop, world.rng.uniform(-plan.skew, plan.skew))
        self.flow = build(world, program, self, self.clock, f"{plan.seed} {self.name}")
        world.processes[self.flow._engine.ids.process_id] = self
        context = contextvars.Context()
        context.run(PROCESS.set, self)
        self.task: asyncio.Task[None] = world.loop.create_task(self.flow.run(), context=context)
        self.context = context


class Fleet:
    """All processes of a world."""

    def __init__(self, world: World) -> None:
        self.world, self.program = world, Program(world)
        self.alive: dict[int, SimProcess] = {}
        self.gone: list[SimProcess] = []
        self._lives = 0
        world.kill = self.kill

    def start(self, index: int) -> None:
        if index not in self.alive and not self.world.over:
            self._lives += 1
            self.alive[index] = SimProcess(self.world, self.program, index, self._lives)
            self.world.note(f"{self.alive[index].name} starts")

    def kill(self, process: SimProcess) -> None:
        """From now on nothing of it runs."""
        if process.dead:
            return
        self.world.note(f"{process.name} is killed")
        self.world.kills += 1
        process.dead = process.killed = True
        self._replace(process, self.world.rng.uniform(0.5, 8.0))

    def _replace(self, process: SimProcess, after: float) -> None:
        if self.alive.get(process.index) is process:
            del self.alive[process.index]
        self.gone.append(process)
        self.world.loop.call_later(after, self.start, process.index, context=OUTSIDE)

    async def stop(self, process: SimProcess) -> None:
        """The polite way; it must be through in time."""
        world = self.world
        world.note(f"{process.name} is stopped")
        process.stopped_at = world.loop.time()
        if self.alive.get(process.index) is process:
            del self.alive[process.index]
        stopping = world.loop.create_task(process.flow.stop(DRAIN), context=process.context)
        done, _ = await asyncio.wait({stopping}, timeout=STOPPED_WITHIN)
        if not done and not process.dead:
            world.complain("a drain that never ends", f"{process.name}")
        process.dead = True
        self._replace(process, 1.0)

    async def bury(self) -> None:
        """The end: let every task of every life clean up against closed ports."""
        self.world.over = True
        lives = [*self.gone, *self.alive.values()]
        for process in lives:
            process.dead = False
        self.world.loop.raise_the_dead()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        tasks.sort(key=hash)
        for _ in range(4):
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=30)
                tasks = sorted((t for t in asyncio.all_tasks() if t is not asyncio.current_task()), key=hash)
            if not tasks:
                return
