"""What must be true of the store in the end: the product's own checker, and the rules only the simulation can see."""

from collections import Counter
from itertools import pairwise
from typing import Any

from workflow import verify
from workflow._model.run_state import RunState

from .programs import Status
from .world import World


async def judge(world: World, client: Any) -> None:
    """Complain about everything that breaks a rule."""
    told: dict[str, int] = {}
    for run_id, version, _ in world.told:
        told[run_id] = max(version, told.get(run_id, 0))
    report = await verify.verify(world.records, client, acknowledged={} if world.plan.rewinds else told)
    for violation in report.violations:
        world.complain("verify", str(violation))
    _acknowledged(world)
    _handled(world)
    _slots(world)
    _failures(world)
    if world.plan.liveness and not (world.plan.loss or world.plan.wipes):
        _hooks(world)


def _acknowledged(world: World) -> None:
    """What an engine took for durable is in the history, written by that attempt."""
    for run_id, version, attempt_id in world.told:
        history = world.records._history.get(run_id, [])
        if len(history) < version or history[version - 1].attempt_id != attempt_id:
            world.complain("acknowledged and lost", f"{run_id} v{version} by {attempt_id}")


def _handled(world: World) -> None:
    """Every step that was passed had its handler called at that version; a swallowed cancellation has no result."""
    calls = {(call.run_id, call.version) for call in world.calls}
    for run_id, history in world.records._history.items():
        for before, after in pairwise(history):
            if after.step_version == after.version and (run_id, before.version) not in calls:
                world.complain("a step without its handler", f"{run_id} v{before.version}")
        if history[-1].status == Status.SWALLOWED:
            world.complain("a cancelled attempt has a result", run_id)


def _slots(world: World) -> None:
    """One run a minute at most; seeds with schedules have clocks that agree."""
    runs = [record for record in world.records._records.values() if record.foreign_id == "cron"]
    for minute, count in Counter(record.created_at.replace(second=0, microsecond=0) for record in runs).items():
        if count > 1:
            world.complain("slot fired twice", f"{count} runs in the minute of {minute}")


def _failures(world: World) -> None:
    """A failure is the failed attempt's alone, and its row has no copy of the object."""
    for run_id, history in world.records._history.items():
        for before, after in pairwise(history):
            failed = after.attempt > before.attempt
            if failed and after.object:
                world.complain("a failed attempt keeps an object", f"{run_id} v{after.version}")
            if failed and "cannot be stored" in after.last_error and not run_id.startswith("unstorable"):
                world.complain("one bad change fails others", f"{run_id} v{after.version}")
        if any(b'"reminded":2' in version.object for version in history):
            world.complain("a timer's result is applied twice", run_id)
    letters = {letter.run_id for letter in world.records._letters.values()}
    if world.plan.liveness and (missing := world.refused - letters):
        world.complain("a refused event is in no dead letter", str(missing))


def _hooks(world: World) -> None:
    for record in world.records._records.values():
        # Erased before its hook was called, a run has nothing to show to a hook.
        completed = record.run_state is RunState.COMPLETED
        if completed and record.status == Status.DONE and record.run_id not in world.hooked:
            world.complain("a hook was not called", record.run_id)


def unfinished(world: World) -> list[str]:
    """What still has to come to an end."""
    found = []
    for record in world.records._records.values():
        kind = record.run_id.partition("-")[0]
        if kind in ("spinner", "sleeper", "laggard", "unsendable") or record.foreign_id == "cron":
            continue
        if kind in ("broken", "alarm") and world.plan.retry:
            continue
        where = f"{record.run_id} v{record.version} at {record.status} {record.run_state} {record.last_error[:80]}"
        if kind in ("poison", "broken", "alarm") and (record.run_state is RunState.PAUSED or record.run_state.finished):
            continue
        if record.run_state.live or record.run_state is RunState.REQUESTED_DATA_DELETED:
            found.append(where)
    return found
