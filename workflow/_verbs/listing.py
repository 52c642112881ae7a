"""Listings and histories: the query behind a listing, and each version of a run with its object."""

from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, Generic, TypedDict

from msgspec.structs import replace

from .. import _arguments
from .._declare.definition import Definition
from .._engine.core import Core
from .._model.moments import in_utc
from .._model.query import Order, RecordFilter, RecordQuery
from .._model.record import Version
from .._model.run import StatusT
from .._model.run_state import RunState
from ..errors import RecordNotFound
from .lookup import lookup


class RunFilter(TypedDict, Generic[StatusT], total=False):
    """The conditions of `Workflow.list` and `Workflow.count`; joined by AND, the values of one condition by OR.

    Attributes:
        foreign_ids: only these foreign IDs.
        foreign_id_prefix: only foreign IDs that begin with this text.
        statuses: only runs at these statuses.
        run_states: only runs in these states.
        created_after, created_before: when the run was triggered: strictly after, strictly before.
        updated_after, updated_before: when its present version was made: strictly after, strictly before.
        failing: only runs whose present step has failed at least once.
    """

    foreign_ids: Sequence[str]
    foreign_id_prefix: str
    statuses: Sequence[StatusT]
    run_states: Sequence[RunState]
    created_after: datetime | None
    created_before: datetime | None
    updated_after: datetime | None
    updated_before: datetime | None
    failing: bool


def checked_filter(
    definition: Definition[Any, Any],
    *,
    foreign_ids: Sequence[str] = (),
    foreign_id_prefix: str = "",
    statuses: Sequence[Any] = (),
    run_states: Sequence[RunState] = (),
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    updated_after: datetime | None = None,
    updated_before: datetime | None = None,
    failing: bool = False,
) -> RecordFilter:
    """The arguments of a listing as a filter over the workflow's runs.

    Raises:
        TypeError, ValueError: naming the argument that cannot be used.
        StatusNotConfigured: a status is not a member of the workflow's enum.
    """
    _arguments.several("foreign_ids", foreign_ids, str)
    _arguments.several("statuses", statuses, IntEnum)
    _arguments.several("run_states", run_states, RunState)
    for foreign_id in foreign_ids:
        _arguments.text("foreign_ids", foreign_id)
    _arguments.text("foreign_id_prefix", foreign_id_prefix, empty=True)
    moments = {
        "created_after": created_after,
        "created_before": created_before,
        "updated_after": updated_after,
        "updated_before": updated_before,
    }
    for name, moment in moments.items():
        if moment is not None:
            _arguments.moment(name, moment)
            moments[name] = in_utc(moment)
    _arguments.instance("failing", failing, bool)
    return RecordFilter(
        workflow_name=definition.name,
        foreign_ids=tuple(foreign_ids),
        foreign_id_prefix=foreign_id_prefix,
        statuses=tuple(definition.member(status) for status in statuses),
        run_states=tuple(run_states),
        failing=failing,
        **moments,
    )


def page_of(chosen: RecordFilter, *, order: Order, cursor: str | None, offset: int, limit: int) -> RecordQuery:
    """The query for one page of the runs that a filter chooses.

    Raises:
        TypeError, ValueError: naming the argument that cannot be used.
    """
    _arguments.instance("order", order, Order)
    if cursor is not None:
        _arguments.text("cursor", cursor)
    _arguments.whole("offset", offset, least=0)
    _arguments.whole("limit", limit, least=1)
    conditions = {name: getattr(chosen, name) for name in RecordFilter.__struct_fields__}
    return RecordQuery(**conditions, order=order, cursor=cursor, offset=offset, limit=limit)


async def history(core: Core, run_id: str, *, after: int, limit: int | None) -> list[Version]:
    """Versions of a run above `after`, oldest first, each with the object it had.

    A failed attempt changes no object, so stores keep none with its version; an erased object stays erased.

    Raises:
        RecordNotFound: this workflow has no such run.
    """
    _arguments.whole("after", after, least=0)
    if limit is not None:
        _arguments.whole("limit", limit, least=1)
    if after:
        await lookup(core, run_id)
    else:
        _arguments.text("run_id", run_id)
    versions = await core.records.history(run_id, after=after, limit=limit)
    if not after and (not versions or versions[0].workflow_name != core.name):
        raise RecordNotFound(run_id=run_id, workflow_name=core.name)
    shown: list[Version] = []
    kept = b""
    if versions and _left_out(versions[0]):
        kept = await _object_before(core, versions[0])
    for version in versions:
        kept = kept if _left_out(version) else version.object
        shown.append(replace(version, object=kept) if version.object != kept else version)
    return shown


def _left_out(version: Version) -> bool:
    """True if this version has the object of the one before, and the store kept it only there."""
    return version.attempt > 1 and not version.object


async def _object_before(core: Core, version: Version) -> bytes:
    """The object of the last version before this one that has it; a step's first version always does."""
    found = await core.records.history(
        version.run_id, after=version.step_version - 1, limit=version.version - version.step_version
    )
    return next((earlier.object for earlier in reversed(found) if not _left_out(earlier)), b"")
