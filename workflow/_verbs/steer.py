"""Verbs by which people steer a run: pause, resume, cancel, erase its data.

Each verb is one new version by compare-and-swap, with the person and the reason kept in the history. They need no
handlers, so they work on a `Core`: in a process without the workflow's code too.
"""

from collections.abc import Callable

from .. import _arguments
from .._engine.commits import VERB_DEADLINE
from .._engine.compare_and_swap import compare_and_swap
from .._engine.core import Core
from .._model.change import NewVersion
from .._model.record import Record, Stamp, VersionCause
from .._model.run_state import RunState
from .._processes.timers import rearm_timers
from ..errors import Conflict
from .lookup import lookup

CONFLICTS = 20
"""How often a verb reads a run again that others keep moving, before it raises `Conflict`."""


async def pause(core: Core, run_id: str, *, reason: str, actor: str, version: int | None) -> Record:
    """Pause a live run; see `Workflow.pause`."""

    def paused(record: Record, stamp: Stamp) -> NewVersion:
        return core.transitions.stopped(record, RunState.PAUSED, reason, stamp)

    return await _steer(core, run_id, paused, VersionCause.PAUSE, reason, actor, version)


async def resume(core: Core, run_id: str, *, reason: str, actor: str, version: int | None) -> Record:
    """Let a paused run go on; see `Workflow.resume`."""
    record = await _steer(core, run_id, core.transitions.resumed, VersionCause.RESUME, reason, actor, version)
    await rearm_timers(core, record)
    return record


async def cancel(core: Core, run_id: str, *, reason: str, actor: str, version: int | None) -> Record:
    """Cancel a live run for good; see `Workflow.cancel`."""

    def cancelled(record: Record, stamp: Stamp) -> NewVersion:
        return core.transitions.stopped(record, RunState.CANCELLED, reason, stamp)

    return await _steer(core, run_id, cancelled, VersionCause.CANCEL, reason, actor, version)


async def delete_data(core: Core, run_id: str, *, reason: str, actor: str, version: int | None) -> Record:
    """Ask for a finished run's data to be erased; see `Workflow.delete_data`."""

    def requested(record: Record, stamp: Stamp) -> NewVersion:
        return core.transitions.deletion_requested(record, reason, stamp)

    return await _steer(core, run_id, requested, VersionCause.DELETE, reason, actor, version)


async def _steer(
    core: Core,
    run_id: str,
    build: Callable[[Record, Stamp], NewVersion],
    cause: VersionCause,
    reason: str,
    actor: str,
    version: int | None,
) -> Record:
    _arguments.text("reason", reason, most=None, empty=True)
    _arguments.text("actor", actor, empty=True)
    if version is not None:
        _arguments.whole("version", version, least=1)

    async def change(record: Record) -> NewVersion:
        if version is not None and record.version != version:
            raise Conflict(run_id, record.version, expected=version)
        return build(record, core.stamp(cause, actor=actor, reason=reason))

    record = await lookup(core, run_id)
    changed = await compare_and_swap(core, record, change, tries=CONFLICTS, patience=VERB_DEADLINE)
    assert changed is not None, "a verb always has something to write"
    return changed
