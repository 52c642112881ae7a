"""The clients of the simulated world: they trigger, call back, meddle and wait, and hold the engine to its word."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

from workflow._engine.transitions import AUTO_PAUSE_REASON
from workflow._model.run_state import RunState
from workflow.errors import (
    Conflict,
    OutcomeUnknown,
    RunFinished,
    Unavailable,
    WaitTimeout,
    WorkflowError,
    WorkflowInProgress,
)

from .programs import KINDS, Job, Status
from .world import World

DEADLINE = 60.0
"""Seconds after which a verb must have answered, one way or the other: twice its patience."""
NEWS = 4.0
"""Seconds after which news reaches whoever waits for it: less than the waiter's own safety net."""
WARM = 15.0
"""Seconds after the last fault until roles have found new holders, so that news travels as it should."""


async def clients(world: World, client: Any) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(world.plan.runs):
            kind = world.rng.choice(KINDS)
            # A loop's events alone would be more than such a relay can send.
            kind = "plain" if world.plan.laggards and kind == "loop" else kind
            group.create_task(_trigger(world, client, number, kind))
        if world.plan.poison:
            group.create_task(_trigger(world, client, 100, "poison"))
        if world.plan.spinner:
            group.create_task(_trigger(world, client, 101, "spinner"))
            for number in (102, 103):
                group.create_task(_trigger(world, client, number, "bystander"))
        # Several at a time, so that others share a batch with them.
        several = 4 * [kind for kind in world.plan.extra if kind == "unstorable"]
        for number, kind in enumerate([*world.plan.extra, *several]):
            one = _nap(world, client) if kind == "nap" else _trigger(world, client, 200 + number, kind)
            group.create_task(one)
        for number in range(12 if world.plan.laggards else 0):
            group.create_task(_trigger(world, client, 300 + number, "laggard"))
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
            await _timely(world, client.trigger(foreign_id, Job(kind=kind), run_id=run_id))
        except WorkflowInProgress as error:
            if error.run_id == run_id:
                world.complain("a run stands in its own way", run_id)
        except Conflict as error:
            world.complain("its own trigger is a conflict", f"{run_id}: {error}")
            return
        except Unavailable:
            given_up = run_id not in world.records._records
            await asyncio.sleep(world.rng.uniform(1, 40))
            if given_up and run_id in world.records._records:
                world.complain("what was given up is written", run_id)
        except OutcomeUnknown:
            pass
        else:
            await _trigger_again(world, foreign_id, kind, run_id)
            return
        await asyncio.sleep(world.rng.uniform(0.5, 5))


async def _trigger_again(world: World, foreign_id: str, kind: str, run_id: str) -> None:
    """Another process triggers the same run, with another object: it is the run that is there already."""
    if world.fleet.alive and world.rng.random() < 0.3:
        process = world.rng.choice(list(world.fleet.alive.values()))
        await _quietly(world, process.flow.trigger(foreign_id, Job(kind=kind, note="twin"), run_id=run_id))


async def _put_to_sleep(world: World, client: Any) -> None:
    """Runs whose timers are due and stay due, because nobody resumes them."""
    for number in range(2):
        run_id = f"sleeper-{number}"
        while run_id not in world.records._records:
            start = client.trigger(run_id, Job(kind="wait"), run_id=run_id, starting_point=Status.WAIT)
            await _quietly(world, start)
        while world.records._records[run_id].run_state is not RunState.PAUSED:
            await asyncio.sleep(0.5)
            await _quietly(world, client.pause(run_id, "sleeps"))
            if world.records._records[run_id].run_state.finished:
                break


async def _nap(world: World, client: Any) -> None:
    """A run that is paused while its timers fall due, and resumed when all is well."""
    while "nap" not in world.records._records:
        await _quietly(world, client.trigger("nap", Job(kind="wait"), run_id="nap", starting_point=Status.WAIT))
    await asyncio.sleep(1)
    while not world.healed and world.records._records["nap"].run_state.live:
        if world.records._records["nap"].run_state is not RunState.PAUSED:
            await _quietly(world, client.pause("nap", "takes a nap"))
        await asyncio.sleep(0.5)


async def _answer(world: World, client: Any) -> None:
    while True:
        await asyncio.sleep(world.rng.uniform(0.5, 3))
        for record in list(world.records._records.values()):
            if record.status == Status.ASK and record.run_state.live:
                await _call_back(world, client, record)
            if world.healed and record.run_state is RunState.PAUSED and _is_resumed(world, record):
                await _quietly(world, client.resume(record.run_id))


async def _call_back(world: World, client: Any, record: Any) -> None:
    try:
        await _timely(world, client.callback(record.foreign_id, Status.ASK, run_id=record.run_id))
    except WorkflowError:
        return
    if world.records._records[record.run_id].status == Status.ASK:
        world.complain("a callback was answered and did nothing", record.run_id)


def _is_resumed(world: World, record: Any) -> bool:
    """Somebody cares for this paused run; what the engine paused it resumes by itself where it is told to."""
    if world.plan.retry and record.meta.run_state_reason == AUTO_PAUSE_REASON:
        return False
    return not record.run_id.startswith(("poison", "sleeper", "broken", "alarm"))


async def _meddle(world: World, client: Any) -> None:
    while world.plan.verbs and not world.healed:
        await asyncio.sleep(world.rng.expovariate(1 / world.plan.verbs))
        runs = [run_id for run_id in world.records._records if not run_id.startswith(("poison", "sleeper"))]
        if runs and not world.healed:
            verb = world.rng.choice((client.pause, client.pause, client.resume, client.cancel, client.delete_data))
            await _quietly(world, verb(world.rng.choice(runs)))


async def _timely(world: World, call: Any) -> None:
    began = world.loop.time()
    try:
        await call
    finally:
        if world.loop.time() - began > DEADLINE and not world.over:
            world.complain("a verb outlasts its deadline", f"{world.loop.time() - began:.0f} s")


async def _quietly(world: World, call: Any) -> None:
    # Being too late, or refused, is part of a client's life; what counts is what the store says in the end.
    with suppress(WorkflowError):
        await _timely(world, call)


async def listen(world: World, client: Any, run_id: str, patient: bool) -> None:
    """Somebody comes to wait for a run, once all is well: its end is heard of when it comes, not some time later.

    Who is not patient gives up soon and asks again, a while.
    """
    await asyncio.sleep(world.rng.uniform(0, WARM if patient else 1.0))
    record = world.records._records[run_id]
    if run_id.startswith(("spinner", "laggard", "sleeper", "unsendable")):
        return
    while patient or world.loop.time() < world.healed_at + 2 * WARM:
        limit = None if patient else timedelta(seconds=world.rng.uniform(0.05, 0.5))
        began = world.loop.time()
        try:
            run = await client.wait_for(record.foreign_id, Status.DONE, run_id=run_id, timeout=limit)
        except WaitTimeout:
            continue
        except RunFinished:
            return
        _heard(world, run, began)
        return


LATE = (WARM, WARM + 5, WARM + 10, WARM + 15)
"""Seconds after the last fault when runs are started that nothing else wakes anybody for."""


async def come_late(world: World, client: Any, after: float) -> None:
    """A run that is started when all is well, and somebody who begins to wait for it about when it ends."""
    await asyncio.sleep(after + world.rng.uniform(0, 1))
    kind = "bystander" if world.plan.spinner else "plain"
    run_id = f"{kind}-late-{after:.0f}"
    await client.trigger(run_id, Job(kind=kind), run_id=run_id)
    await asyncio.sleep(world.rng.uniform(0, 0.6))
    began = world.loop.time()
    _heard(world, await client.wait_for(run_id, Status.DONE, run_id=run_id), began)


def _heard(world: World, run: Any, began: float) -> None:
    run_id, heard = run.run_id, world.loop.time()
    entered = world.records._first_versions[run_id].get(Status.DONE)
    if entered is None or run.version < entered:
        world.complain("a waiter is shown a run that has not arrived", f"{run_id} v{run.version}, done by v{entered}")
        return
    happened = max(began, world.healed_at + WARM, world.committed[run_id, entered])
    # A relay that is killed, or has too much to do, is late itself.
    if heard - happened > NEWS and not (world.plan.laggards or world.plan.poison):
        world.complain("a waiter hears too late", f"{run_id} {heard - happened:.1f} s after it happened")
