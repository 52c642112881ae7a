"""Ways to wait for the engine, and runs to hand to a handler directly."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from .._facade.workflow import Workflow
from .._model.decision import Decision
from .._model.record import Meta, Record
from .._model.run import ObjectT, Run, StatusT
from .._model.run_state import RunState
from .._processes.timers import timers_of
from ..errors import RecordNotFound, StatusNotConfigured, WaitTimeout

PATIENCE = timedelta(seconds=10)
"""How long these helpers wait when they are not told."""
LOOK = 0.01
"""Seconds between looks where no news announces the awaited event."""


async def require(
    wf: Workflow[ObjectT, StatusT],
    foreign_id: str,
    status: StatusT,
    expected_object: ObjectT,
    *,
    timeout: timedelta = PATIENCE,
) -> Run[ObjectT, StatusT]:
    """Wait until the run of `foreign_id` reaches `status`; its object there must equal `expected_object`.

    The expected object is encoded and decoded first, so that a change by the codec is no difference.

    Raises:
        AssertionError: the object is another one.
        WaitTimeout, RunFinished, StatusNotConfigured: it did not, cannot, or never could get there.
    """
    run = await wf.wait_for(foreign_id, status, timeout=timeout)
    reached = [version for version in await wf.history(run.run_id) if version.status == status]
    found = next(version for version in reversed(reached) if not version.last_error)
    engine = wf._engine  # noqa: SLF001 - the kit belongs to the engine
    expected = engine.decode(engine.encode(expected_object, run.run_id), run.run_id)
    if found.object != expected:
        raise AssertionError(f"{foreign_id!r} reached {status!r} with {found.object!r}, expected {expected!r}")
    return found


async def wait_for(
    wf: Workflow[ObjectT, StatusT],
    foreign_id: str,
    predicate: Callable[[Run[ObjectT, StatusT]], bool],
    *,
    timeout: timedelta = PATIENCE,
) -> Run[ObjectT, StatusT]:
    """The first version of the run of `foreign_id` for which `predicate` is true, waiting for it to be committed.

    Raises:
        TimeoutError: there was none in time.
    """
    async with asyncio.timeout(timeout.total_seconds()):
        run_id: str | None = None
        seen = 0
        while True:
            try:
                run_id = run_id or (await wf.latest(foreign_id)).run_id
            except RecordNotFound:
                await asyncio.sleep(LOOK)
                continue
            history = await wf.history(run_id)
            for version in history[seen:]:
                if predicate(version):
                    return version
            seen = len(history)
            await asyncio.sleep(LOOK)


async def trigger_callback_on(
    wf: Workflow[Any, StatusT],
    foreign_id: str,
    run_id: str,
    status: StatusT,
    payload: object,
    *,
    timeout: timedelta = PATIENCE,
) -> None:
    """Wait until the run waits at `status`, then call its callback; a payload that is not bytes is sent as JSON."""
    await wf.wait_for(foreign_id, status, run_id=run_id, timeout=timeout)
    data = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    await wf.callback(foreign_id, status, data, run_id=run_id)


async def await_timeout_insert(
    wf: Workflow[Any, StatusT], foreign_id: str, run_id: str, status: StatusT, *, timeout: timedelta = PATIENCE
) -> None:
    """Wait until a timer of the run at `status` is armed, so that moving the clock will fire it.

    Raises:
        WaitTimeout: none was armed in time.
        StatusNotConfigured: the workflow has no timeout on that status.
    """
    engine = wf._engine  # noqa: SLF001 - the kit belongs to the engine
    if engine.definition.checked(status) not in engine.definition.timeouts:
        raise StatusNotConfigured(wf.name, status, "it has no timeout")
    deadline = asyncio.get_running_loop().time() + timeout.total_seconds()
    while asyncio.get_running_loop().time() < deadline:
        armed = await timers_of(engine, run_id, completed=True)
        if any(timer.status == int(status) and timer.foreign_id == foreign_id for timer in armed):
            return
        await asyncio.sleep(LOOK)
    raise WaitTimeout(wf.name, foreign_id, status, timeout, run_id)


def new_testing_run(
    status: StatusT,
    value: ObjectT,
    *,
    workflow_name: str = "test",
    foreign_id: str = "test",
    run_id: str = "test-run",
    run_state: RunState = RunState.RUNNING,
    version: int = 1,
    attempt: int = 1,
    now: datetime = datetime(2025, 1, 1, tzinfo=UTC),
    decide: Callable[[Decision], Decision] | None = None,
) -> Run[ObjectT, StatusT]:
    """A run to call a handler with, without an engine.

    Its decisions are returned as in the engine; `decide` may look at each, replace it, or raise.
    """
    record = Record(
        workflow_name=workflow_name,
        foreign_id=foreign_id,
        run_id=run_id,
        run_state=run_state,
        status=int(status),
        object=b"",
        version=version,
        created_at=now,
        updated_at=now,
        due_at=now,
        visit=version,
        entered_at=now,
        step_version=version,
        attempt=attempt,
        meta=Meta(status_description=status.name),
    )
    run: Run[ObjectT, StatusT] = Run(record, status, lambda _: value, handling=True, decide=decide)
    run.object = value
    return run
