"""Finds the run that a verb is about."""

from .. import _arguments
from .._engine.core import Core
from .._model.record import Record
from ..errors import RecordNotFound


async def lookup(core: Core, run_id: str) -> Record:
    """The present record of a run of this workflow.

    Raises:
        RecordNotFound: this workflow has no such run.
    """
    _arguments.text("run_id", run_id)
    record = await core.find(run_id)
    if record is None or record.workflow_name != core.name:
        raise RecordNotFound(run_id=run_id, workflow_name=core.name)
    return record


async def latest(core: Core, foreign_id: str) -> Record:
    """The live run of a foreign ID if there is one, else the one triggered last.

    Raises:
        RecordNotFound: the foreign ID never had a run.
    """
    _arguments.text("foreign_id", foreign_id)
    record = await core.records.latest(core.name, foreign_id)
    if record is None:
        raise RecordNotFound(workflow_name=core.name, foreign_id=foreign_id)
    return record
