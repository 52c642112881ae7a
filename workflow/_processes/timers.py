"""The timers of one run: which there are, and making them due again."""

from msgspec.structs import replace

from .._engine.core import Core
from .._model.record import Version
from .._model.timer import TimeoutQuery, TimeoutRecord
from ..errors import WorkflowError


def timer_id(run_id: str, visit: int, index: int) -> str:
    """Names a timer of one visit."""
    return f"{run_id}/{visit}/{index}"


async def timers_of(core: Core, run_id: str, *, completed: bool = False) -> list[TimeoutRecord]:
    """The timers of a run that wait; with `completed` also those that have fired."""
    found: list[TimeoutRecord] = []
    cursor: str | None = None
    while True:
        query = TimeoutQuery(workflow_name=core.name, run_id=run_id, completed=completed, cursor=cursor)
        page = await core.timeouts.list(query)
        found += page
        if page.next is None:
            return found
        cursor = page.next


async def rearm_timers(core: Core, version: Version) -> None:
    """Make the timers of a resumed run due again when they were; their failures are forgotten.

    The run is resumed already, so an error is only reported: the timers are then looked at a few minutes later.
    """
    if version.status not in core.timer_statuses or core.timeout_store is None:
        return
    try:
        of_visit = [timer for timer in await timers_of(core, version.run_id) if timer.visit == version.visit]
        if of_visit:
            await core.timeouts.postpone([replace(t, due_at=t.expire_at, attempt=1) for t in of_visit])
    except WorkflowError as error:
        extra = {"workflow": core.name, "run_id": version.run_id, "foreign_id": version.foreign_id}
        core.logger.warning("the timers of a resumed run may be late: %s", error, extra=extra)
