"""Filtering, counting and paging of records in memory."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from workflow.protocols import (
    COUNT_CAP,
    Order,
    Page,
    Record,
    RecordFilter,
    RecordQuery,
    RunState,
    StalledQuery,
    StatusCount,
)

from ..kit.cursor import decode_cursor, encode_cursor

_LISTING = "memory:runs"


def page_of(records: Iterable[Record], query: RecordQuery, number_of: Callable[[str], int]) -> Page[Record]:
    """One page of these records, in order of creation.

    Args:
        number_of: how the store numbered a run.
    """

    def place(record: Record) -> tuple[datetime, int]:
        return record.created_at, number_of(record.run_id)

    descending = query.order is Order.DESCENDING
    found = sorted((record for record in records if matches(query, record)), key=place, reverse=descending)
    if query.cursor is not None:
        last = tuple(decode_cursor(_LISTING, query.cursor, [datetime, int]))
        found = [record for record in found if (place(record) < last if descending else place(record) > last)]
    shown = found[query.offset : query.offset + query.limit]
    more = encode_cursor(_LISTING, *place(shown[-1])) if shown and len(found) > query.offset + len(shown) else None
    return Page(shown, more)


def matches(query: RecordFilter, record: Record) -> bool:
    """True if the record is one of those that are asked for."""
    return (
        (query.workflow_name is None or record.workflow_name == query.workflow_name)
        and (not query.foreign_ids or record.foreign_id in query.foreign_ids)
        and record.foreign_id.startswith(query.foreign_id_prefix)
        and (not query.statuses or record.status in query.statuses)
        and (not query.run_states or record.run_state in query.run_states)
        and (not query.failing or record.attempt > 1)
        and _between(record.created_at, query.created_after, query.created_before)
        and _between(record.updated_at, query.updated_after, query.updated_before)
    )


def _between(moment: datetime, after: datetime | None, before: datetime | None) -> bool:
    return (after is None or moment > after) and (before is None or moment < before)


def counts_of(records: Iterable[Record]) -> Mapping[int, StatusCount]:
    """How many of these records are at each status."""
    tallies: dict[int, list[int]] = {}
    for record in records:
        tally = tallies.setdefault(record.status, [0, 0, 0, 0])
        if record.run_state.live:
            tally[0] += 1
            tally[1] += record.attempt > 1
            tally[2] += record.run_state is RunState.PAUSED
        else:
            tally[3] += 1
    return {
        status: StatusCount(
            live=live, failing=failing, paused=paused, finished=min(finished, COUNT_CAP), capped=finished > COUNT_CAP
        )
        for status, (live, failing, paused, finished) in tallies.items()
    }


def is_stalled(query: StalledQuery, record: Record) -> bool:
    """True if the record owes work, as `StalledQuery` says. It is initiated, running or to be erased."""
    if record.workflow_name != query.workflow_name or record.due_at >= query.due_before:
        return False
    marks = record.marks
    if marks.reemitted_at is not None and query.now - marks.reemitted_at < marks.reemitted_at - record.due_at:
        return False
    if record.run_state is RunState.REQUESTED_DATA_DELETED:
        return query.deletions
    return (
        (record.status in query.step_statuses and not marks.skipped)
        or (record.status in query.timer_statuses and not marks.timers_armed)
        or (bool(query.known_statuses) and record.status not in query.known_statuses)
    )
