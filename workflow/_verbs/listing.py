"""What listings and histories show: the query behind a listing, and each version of a run with its object."""

from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any

from msgspec.structs import replace

from .. import _arguments
from .._declare.definition import Definition
from .._model.query import Order, RecordQuery
from .._model.record import Record
from .._model.run_state import RunState


def query(
    definition: Definition[Any, Any],
    *,
    foreign_ids: Sequence[str],
    statuses: Sequence[Any],
    run_states: Sequence[RunState],
    created_after: datetime | None,
    created_before: datetime | None,
    order: Order,
    offset: int,
    limit: int,
) -> RecordQuery:
    """The arguments of a listing as a query over the workflow's runs.

    Raises:
        TypeError, ValueError: naming the argument that cannot be used.
        StatusNotConfigured: a status is not a member of the workflow's enum.
    """
    _arguments.several("foreign_ids", foreign_ids, str)
    _arguments.several("statuses", statuses, IntEnum)
    _arguments.several("run_states", run_states, RunState)
    for foreign_id in foreign_ids:
        _arguments.text("foreign_ids", foreign_id)
    for name, moment in (("created_after", created_after), ("created_before", created_before)):
        if moment is not None:
            _arguments.moment(name, moment)
    _arguments.instance("order", order, Order)
    _arguments.whole("offset", offset, least=0)
    _arguments.whole("limit", limit, least=1)
    return RecordQuery(
        workflow_name=definition.name,
        foreign_ids=tuple(foreign_ids),
        statuses=tuple(definition.member(status) for status in statuses),
        run_states=tuple(run_states),
        created_after=created_after,
        created_before=created_before,
        order=order,
        offset=offset,
        limit=limit,
    )


def with_objects(history: Sequence[Record]) -> list[Record]:
    """The versions of one run, oldest first, each with the object it had.

    A failed attempt changes no object, so stores keep none with its version; an erased object stays erased.
    """
    shown: list[Record] = []
    for version in history:
        unchanged = bool(shown) and version.attempt > 1 and not version.object
        shown.append(replace(version, object=shown[-1].object) if unchanged else version)
    return shown
