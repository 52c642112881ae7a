"""The loop of everything that changes a run from its present record: read, build, write; again if the run was moved."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from .._model.change import Change, NewVersion
from .._model.record import Record
from ..errors import Conflict, RecordNotFound
from .core import Core


async def compare_and_swap(
    core: Core,
    record: Record,
    build: Callable[[Record], Awaitable[Change | None]],
    *,
    tries: int,
    patience: timedelta | None = None,
) -> Record | None:
    """Write what `build` makes of the record; of the present record again when the run was moved meanwhile.

    Args:
        build: the change, or None if there is nothing to write (any more). Its errors are passed on.
        tries: how often, before it gives up.
        patience: see `Commits.apply`.

    Returns:
        The record as committed (of a note: as it was noted on); None if there was nothing to write.

    Raises:
        Conflict: the run was moved again and again.
        RecordNotFound: the run is gone.
    """
    for _ in range(tries):
        change = await build(record)
        if change is None:
            return None
        outcome = await core.commits.apply(change, patience)
        if outcome.ok:
            return change.record if isinstance(change, NewVersion) else record
        if outcome.record is None:
            raise RecordNotFound(run_id=record.run_id, workflow_name=core.name)
        record = outcome.record
    raise Conflict(record.run_id, record.version)
