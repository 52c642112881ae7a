"""The workflow that the simulated processes run, and the rules its handlers watch while they run."""

import asyncio
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

import msgspec

from workflow import Backoff, Builder, Options, Run

from .loop import PROCESS
from .watch import Watch
from .world import EPOCH, World

WAIT, BOUNCE, LOOP = timedelta(seconds=12), timedelta(seconds=12), timedelta(seconds=8)
REMIND = timedelta(seconds=1)
LAG = timedelta(seconds=0.1)
SLOW = 150.0
"""Seconds that a handler may take without being forgotten, or swept again and again."""
PAUSE_AFTER = 4


class Status(IntEnum):
    START = 1
    WORK = 2
    ASK = 3
    LOOP = 4
    WAIT = 5
    BOUNCE = 6
    BACK = 7
    DONE = 8
    SWALLOWED = 9
    LAG = 10


class Job(msgspec.Struct):
    """What a run is about: `kind` says what happens to it."""

    kind: str = "plain"
    count: int = 0
    reminded: int = 0
    note: str = ""


FIRST = {
    "ask": Status.ASK,
    "loop": Status.LOOP,
    "spinner": Status.LOOP,
    "bystander": Status.LOOP,
    "wait": Status.WAIT,
    "bounce": Status.BOUNCE,
    "alarm": Status.WAIT,
    "laggard": Status.LAG,
}
DELAYS = {
    (Status.WAIT, 0): WAIT,
    (Status.WAIT, 1): REMIND,
    (Status.BOUNCE, 0): BOUNCE,
    (Status.LOOP, 0): LOOP,
}
KINDS = ("plain", "plain", "ask", "loop", "wait", "bounce", "hang", "swallow")


class Program:
    """The handlers; one for all processes of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._failures: dict[tuple[str, str], int] = {}
        decode = msgspec.json.Decoder(Job).decode
        self.watch = world.watch = Watch(world, frozenset({Status.START, Status.LOOP}), DELAYS, decode)

    def builder(self) -> "Builder[Job, Status]":
        world = self.world
        builder: Builder[Job, Status] = Builder("sim", Job, Status)
        options = Options(parallel_count=world.plan.shards)
        limit = Options(timeout=timedelta(seconds=20))
        builder.step(Status.START, to=[Status.WORK, *set(FIRST.values())], options=options)(self._step(self.start))
        builder.step(Status.WORK, to=[Status.DONE, Status.SWALLOWED], options=limit)(self._step(self.work))
        builder.step(Status.ASK, to=Status.WORK)(self._step(self.ask))
        builder.callback(Status.ASK, to=Status.DONE)(self.answer)
        builder.step(Status.LOOP, to=Status.DONE, options=options)(self._step(self.loop))
        builder.timeout(Status.LOOP, self.loop_timer, to=Status.DONE)(self.loop_over)
        builder.timeout(Status.WAIT, WAIT, to=Status.WORK)(self.wait_over)
        builder.timeout(Status.WAIT, REMIND, to=Status.WORK)(self.remind)
        builder.step(Status.BOUNCE, to=Status.BACK)(self._step(self.bounce))
        builder.step(Status.BACK, to=Status.BOUNCE)(self._step(self.back))
        builder.timeout(Status.BOUNCE, BOUNCE, to=Status.DONE)(self.bounce_over)
        builder.step(Status.LAG, to=Status.DONE, options=Options(consume_lag=LAG))(self._step(self.lag))
        builder.on_complete(self.completed)
        if world.plan.schedule:
            builder.schedule("cron", "* * * * *", initial_value=Job(kind="plain"))
        return builder

    def _step(self, handler: Any) -> Any:
        """The handler, watched from its beginning to its end."""

        async def watched(run: Run[Job, Status]) -> Any:
            with self.watch.step(run):
                self.on_time(run)
                return await handler(run)

        return watched

    def on_time(self, run: Run[Job, Status]) -> None:
        """No step before its back-off is over."""
        present = self.world.records._records[run.run_id]
        if present.version == run.version and PROCESS.get().clock.now() + self._set_back() < present.due_at:
            self.world.complain("early", f"{run.run_id} v{run.version} handled before {present.due_at}")

    def _set_back(self) -> timedelta:
        """How far the clock may have been set back between the engine's look at it and ours."""
        return timedelta(seconds=2 * self.world.plan.skew)

    async def pause_a_little(self, run: Run[Job, Status]) -> None:
        """Work takes a while; sometimes it fails, having changed its object."""
        run.object.count += 1
        await asyncio.sleep(self.world.rng.choice((0.0, 0.001, 0.05, 0.5)))
        key = (run.idempotency_key, run.status.name)
        if self._failures.get(key, 0) < 2 and self.world.chance(self.world.plan.failing):
            self._failures[key] = self._failures.get(key, 0) + 1
            raise RuntimeError("simulated")

    # -- handlers ---------------------------------------------------------------------------------------------

    async def start(self, run: Run[Job, Status]) -> Any:
        if run.object.kind == "slowpoke":
            await asyncio.sleep(SLOW)
        await self.pause_a_little(run)
        return FIRST.get(run.object.kind, Status.WORK)

    async def work(self, run: Run[Job, Status]) -> Any:
        await self.pause_a_little(run)
        kind = run.object.kind
        if kind == "broken" or (kind == "patient" and not self.world.healed):
            raise RuntimeError("simulated for ever")
        if kind == "decide" and not run.object.note:
            run.object.note = "asked"
            return run.pause("a person decides")
        if kind == "unstorable" and run.attempt < 3:
            run.object.note = "unstorable"
        if kind == "poison":
            self.world.kill(PROCESS.get())
            await asyncio.sleep(1000)
        if kind == "hang" and run.attempt == 1:
            await asyncio.sleep(10_000)
        if kind == "swallow":
            try:
                await asyncio.sleep(8)
            except asyncio.CancelledError:
                return Status.SWALLOWED
        return Status.DONE

    async def ask(self, run: Run[Job, Status]) -> Any:
        await self.pause_a_little(run)
        return run.skip()

    async def answer(self, run: Run[Job, Status], payload: bytes) -> Any:
        self.watch.called(run)
        await asyncio.sleep(self.world.rng.choice((0.0, 0.0, 2.0)))
        return Status.DONE

    async def loop(self, run: Run[Job, Status]) -> Any:
        run.object.count += 1
        await asyncio.sleep(self.world.rng.choice((0.0, 0.01, 0.1, 0.3)))
        if run.object.kind == "bystander" and run.object.count > 3:
            return Status.DONE
        return run.save_and_repeat()

    async def loop_timer(self, run: Run[Job, Status], now: datetime) -> datetime | None:
        return None if run.object.kind in ("spinner", "bystander") else now + LOOP

    async def bounce(self, run: Run[Job, Status]) -> Any:
        await self.pause_a_little(run)
        await asyncio.sleep(1)
        return run.skip() if run.object.count > 4 else Status.BACK

    async def back(self, run: Run[Job, Status]) -> Any:
        await self.pause_a_little(run)
        return Status.BOUNCE

    async def lag(self, run: Run[Job, Status]) -> Any:
        return run.save_and_repeat()

    async def _expired(self, run: Run[Job, Status], after: timedelta) -> None:
        self.watch.called(run)
        process, entered = PROCESS.get(), run._version.entered_at
        if process.clock.now() + self._set_back() < entered + after:
            why = f"{run.run_id} v{run.version} entered at {entered - EPOCH}, fired at {process.clock.now() - EPOCH}"
            self.world.complain("a timer fires early, or for an old visit", why)
        await self.pause_a_little(run)

    async def loop_over(self, run: Run[Job, Status], now: datetime) -> Any:
        await self._expired(run, LOOP)
        return Status.DONE

    async def wait_over(self, run: Run[Job, Status], now: datetime) -> Any:
        await self._expired(run, WAIT)
        if run.object.kind == "alarm":
            raise RuntimeError("simulated for ever")
        return Status.WORK

    async def remind(self, run: Run[Job, Status], now: datetime) -> Any:
        await self._expired(run, REMIND)
        run.object.reminded += 1
        return run.save_and_repeat()

    async def bounce_over(self, run: Run[Job, Status], now: datetime) -> Any:
        await self._expired(run, BOUNCE)
        return Status.DONE

    async def completed(self, run: Run[Job, Status]) -> None:
        if self.world.chance(self.world.plan.failing):
            raise RuntimeError("simulated")
        self.world.hooked.add(run.run_id)

    async def keep(self, job: Job) -> Job:
        """What is kept when a run is erased."""
        if self.world.chance(self.world.plan.failing):
            raise RuntimeError("simulated")
        return Job(kind="erased")


def defaults(world: World) -> Options:
    """Options of every process: short waits, so that much happens in little virtual time."""
    return Options(
        max_in_flight=world.plan.slots,
        pause_after_err_count=PAUSE_AFTER,
        err_back_off=Backoff(first=timedelta(seconds=0.5), cap=timedelta(seconds=8)),
    )
