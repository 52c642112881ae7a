"""The workflow that the simulated processes run, and the rules its handlers watch while they run."""

import asyncio
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

import msgspec

from workflow import Backoff, Builder, Options, Run

from .loop import PROCESS
from .world import EPOCH, Call, World

WAIT, BOUNCE, LOOP = timedelta(seconds=6), timedelta(seconds=12), timedelta(seconds=8)
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


class Job(msgspec.Struct):
    """What a run is about: `kind` says what happens to it."""

    kind: str = "plain"
    count: int = 0


FIRST = {
    "ask": Status.ASK,
    "loop": Status.LOOP,
    "spinner": Status.LOOP,
    "bystander": Status.LOOP,
    "wait": Status.WAIT,
    "bounce": Status.BOUNCE,
}
KINDS = ("plain", "plain", "ask", "loop", "wait", "bounce", "hang", "swallow")


class Program:
    """The handlers; one for all processes of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._failures: dict[tuple[str, str], int] = {}

    def builder(self) -> "Builder[Job, Status]":
        world = self.world
        builder: Builder[Job, Status] = Builder("sim", Job, Status)
        options = Options(parallel_count=world.plan.shards)
        builder.step(Status.START, to=[Status.WORK, *set(FIRST.values())], options=options)(self.start)
        builder.step(Status.WORK, to=[Status.DONE, Status.SWALLOWED], options=Options(timeout=timedelta(seconds=20)))(
            self.work
        )
        builder.step(Status.ASK, to=Status.WORK)(self.ask)
        builder.callback(Status.ASK, to=Status.DONE)(self.answer)
        builder.step(Status.LOOP, to=Status.DONE, options=options)(self.loop)
        builder.timeout(Status.LOOP, self.loop_timer, to=Status.DONE)(self.loop_over)
        builder.timeout(Status.WAIT, WAIT, to=Status.WORK)(self.wait_over)
        builder.step(Status.BOUNCE, to=Status.BACK)(self.bounce)
        builder.step(Status.BACK, to=Status.BOUNCE)(self.back)
        builder.timeout(Status.BOUNCE, BOUNCE, to=Status.DONE)(self.bounce_over)
        builder.on_complete(self.completed)
        if world.plan.schedule:
            builder.schedule("cron", "* * * * *", initial_value=Job(kind="plain"))
        return builder

    # -- watching ---------------------------------------------------------------------------------------------

    def called(self, run: Run[Job, Status]) -> None:
        """Note the call, and check what must hold when a handler starts."""
        world, process = self.world, PROCESS.get()
        name = process.name if process is not None else "client"
        status, now = int(run.status), world.loop.time()
        world.calls.append(Call(run.run_id, status, run.version, name, now))
        world.note(f"{name} calls {status} {run.run_id[:8]} v{run.version}")
        record = run._record
        present = world.records._records.get(run.run_id)
        same = present is not None and present.version == record.version
        if same and msgspec.json.decode(present.object, type=Job) != run.object:
            world.complain("stale object", f"{run.run_id} v{run.version}: {run.object}, not {present.object!r}")
        if process is not None and run.run_id.startswith("poison"):
            again = sum(1 for call in world.calls if call.run_id == run.run_id)
            if again > 60:
                world.complain("crash loop", f"{run.run_id} was tried {again} times")

    def stepping(self, run: Run[Job, Status]) -> None:
        self.called(run)
        process, record = PROCESS.get(), run._record
        if process.clock.now() + self._set_back() < record.due_at:
            self.world.complain("early", f"{run.run_id} v{run.version} handled before {record.due_at}")
        skipped = self.world.skipped_at.get((run.run_id, run.version))
        if skipped is not None and self.world.loop.time() - skipped > 30.0:
            self.world.complain("a skipped step runs again", f"{run.run_id} v{run.version}")

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
        self.stepping(run)
        await self.pause_a_little(run)
        return FIRST.get(run.object.kind, Status.WORK)

    async def work(self, run: Run[Job, Status]) -> Any:
        self.stepping(run)
        await self.pause_a_little(run)
        kind = run.object.kind
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
        self.stepping(run)
        await self.pause_a_little(run)
        return run.skip()

    async def answer(self, run: Run[Job, Status], payload: bytes) -> Any:
        self.called(run)
        return Status.DONE

    async def loop(self, run: Run[Job, Status]) -> Any:
        self.stepping(run)
        run.object.count += 1
        await asyncio.sleep(self.world.rng.choice((0.0, 0.01, 0.1, 0.3)))
        if run.object.kind == "bystander" and run.object.count > 3:
            return Status.DONE
        return run.save_and_repeat()

    async def loop_timer(self, run: Run[Job, Status], now: datetime) -> datetime | None:
        return None if run.object.kind in ("spinner", "bystander") else now + LOOP

    async def bounce(self, run: Run[Job, Status]) -> Any:
        self.stepping(run)
        await self.pause_a_little(run)
        await asyncio.sleep(1)
        return run.skip() if run.object.count > 4 else Status.BACK

    async def back(self, run: Run[Job, Status]) -> Any:
        self.stepping(run)
        await self.pause_a_little(run)
        return Status.BOUNCE

    async def _expired(self, run: Run[Job, Status], after: timedelta) -> None:
        self.called(run)
        process, entered = PROCESS.get(), run._record.entered_at
        if process.clock.now() + self._set_back() < entered + after:
            why = f"{run.run_id} v{run.version} entered at {entered - EPOCH}, fired at {process.clock.now() - EPOCH}"
            self.world.complain("a timer fires early, or for an old visit", why)
        await self.pause_a_little(run)

    async def loop_over(self, run: Run[Job, Status], now: datetime) -> Any:
        await self._expired(run, LOOP)
        return Status.DONE

    async def wait_over(self, run: Run[Job, Status], now: datetime) -> Any:
        await self._expired(run, WAIT)
        return Status.WORK

    async def bounce_over(self, run: Run[Job, Status], now: datetime) -> Any:
        await self._expired(run, BOUNCE)
        return Status.DONE

    async def completed(self, run: Run[Job, Status]) -> None:
        self.world.hooked.add(run.run_id)


def defaults(world: World) -> Options:
    """Options of every process: short waits, so that much happens in little virtual time."""
    return Options(
        max_in_flight=world.plan.slots,
        pause_after_err_count=PAUSE_AFTER,
        err_back_off=Backoff(first=timedelta(seconds=0.5), cap=timedelta(seconds=8)),
    )
