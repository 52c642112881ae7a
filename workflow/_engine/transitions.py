"""How one version of a run follows another: pure functions from a record and a decision to the version to commit.

Owns the rules that every writer shares: what a step, an attempt and a visit are, which topic an event goes to, and
when it is due. No I/O and no clock: the moment and the attempt id come with the `Stamp`.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from .._model import topology
from .._model.change import NewVersion, Note
from .._model.event import Event
from .._model.graph import StatusGraph
from .._model.moments import in_utc, later
from .._model.record import NO_MARKS, Meta, Record, Stamp, Version
from .._model.run_state import TRANSITIONS, RunState
from ..errors import InvalidRunState

MAX_ERROR_BYTES = 8 * 1024
AUTO_PAUSE_REASON = "max error retry threshold hit - automatically paused"

_RUN_STATE_TOPICS = frozenset({RunState.PAUSED, RunState.CANCELLED, RunState.DATA_DELETED, RunState.COMPLETED})


class Transitions:
    """Builds the changes of one workflow.

    Args:
        graph: which statuses are terminal.
        describe: the text of a status.
        lags: for each status whose step waits before it handles, how long. Statuses with timers are left out: their
            event must reach the timeout inserter at once.
    """

    def __init__(
        self, name: str, graph: StatusGraph, describe: Callable[[int], str], lags: dict[int, timedelta]
    ) -> None:
        self._name, self._graph, self._describe, self._lags = name, graph, describe, lags
        self._topics = {status: topology.topic(name, status) for status in graph.nodes()}
        self._run_state_topic = topology.run_state_change_topic(name)
        self._delete_topic = topology.delete_topic(name)
        self._descriptions = {status: describe(status) for status in graph.nodes()}

    def topic_of(self, run_state: RunState, status: int) -> str:
        """The one topic on which a version with this run state and status is published (R-OUTBOX-2)."""
        if run_state is RunState.REQUESTED_DATA_DELETED:
            return self._delete_topic
        if run_state in _RUN_STATE_TOPICS:
            return self._run_state_topic
        return self._topics.get(status) or topology.topic(self._name, status)

    def event(self, record: Version, **fields: Any) -> Event:
        """The event of a version."""
        return Event(
            topic=fields.pop("topic", None) or self.topic_of(record.run_state, record.status),
            workflow_name=record.workflow_name,
            run_id=record.run_id,
            foreign_id=record.foreign_id,
            status=record.status,
            run_state=record.run_state,
            version=record.version,
            created_at=record.updated_at,
            **fields,
        )

    # -- new versions ----------------------------------------------------------------------------------------

    def triggered(
        self,
        *,
        foreign_id: str,
        run_id: str,
        status: int,
        data: bytes,
        stamp: Stamp,
        start_at: datetime | None,
        trace_origin: str,
        trace_context: dict[str, str],
    ) -> NewVersion:
        """Version 1 of a new run. At a terminal status it completes at once."""
        done = self._graph.is_terminal(status)
        now = stamp.at
        lag = self._lags.get(status)
        due = max(in_utc(start_at) if start_at else now, later(now, lag) if lag else now)
        meta = Meta(
            status_description=self._text(status),
            trace_origin=trace_origin,
            trace_context=trace_context,
            cause=stamp.cause,
            actor=stamp.actor,
            reason=stamp.reason,
        )
        return self._new_version(
            Record(
                workflow_name=self._name,
                foreign_id=foreign_id,
                run_id=run_id,
                run_state=RunState.COMPLETED if done else RunState.INITIATED,
                status=status,
                object=data,
                version=1,
                created_at=now,
                updated_at=now,
                due_at=now if done else due,
                visit=1,
                entered_at=now,
                step_version=1,
                attempt_id=stamp.attempt_id,
                meta=meta,
            )
        )

    def moved(self, record: Record, status: int, data: bytes, stamp: Stamp) -> NewVersion:
        """A handler returned `status`: a new step in a new visit."""
        version = record.version + 1
        done = self._graph.is_terminal(status)
        meta = record.meta
        return self._new_version(
            # Written out: it is made for every step, and `replace` with all these fields costs three times as much.
            Record(
                workflow_name=record.workflow_name,
                foreign_id=record.foreign_id,
                run_id=record.run_id,
                run_state=RunState.COMPLETED if done else RunState.RUNNING,
                status=status,
                object=data,
                version=version,
                created_at=record.created_at,
                updated_at=stamp.at,
                due_at=self._due(status, stamp.at, done),
                visit=version,
                entered_at=stamp.at,
                step_version=version,
                attempt_id=stamp.attempt_id,
                meta=Meta(
                    run_state_reason=meta.run_state_reason,
                    status_description=self._text(status),
                    trace_origin=meta.trace_origin,
                    trace_context=meta.trace_context,
                    cause=stamp.cause,
                    actor=stamp.actor,
                    reason=stamp.reason,
                ),
            ),
            record,
        )

    def repeated(self, record: Record, data: bytes, stamp: Stamp) -> NewVersion:
        """A handler saved its changes and wants to run again: a new step in the same visit."""
        return self._new_version(
            self._next(
                record,
                stamp,
                run_state=RunState.RUNNING,
                object=data,
                step_version=record.version + 1,
                attempt=1,
                last_error="",
                due_at=self._due(record.status, stamp.at, False),
            ),
            record,
        )

    def failed(self, record: Record, error: str, delay: timedelta, stamp: Stamp) -> NewVersion:
        """An attempt failed: the same step is due again after `delay`. The object stays as it was."""
        version = self._new_version(
            self._next(
                record,
                stamp,
                run_state=RunState.RUNNING if record.run_state is RunState.INITIATED else record.run_state,
                attempt=record.attempt + 1,
                last_error=clip(error),
                due_at=later(stamp.at, delay),
            ),
            record,
        )
        return replace(version, keep_object=False)

    def stopped(
        self,
        record: Record,
        wanted: RunState,
        reason: str,
        stamp: Stamp,
        *,
        data: bytes | None = None,
        error: str | None = None,
        auto: bool = False,
    ) -> NewVersion:
        """A pause or a cancellation: by a handler (`data`: its changes), by the engine (`error`) or by a verb.

        Raises:
            InvalidRunState: the present run state does not allow it.
        """
        self._check(record, wanted)
        return self._new_version(
            self._next(
                record,
                stamp,
                run_state_reason=reason,
                run_state=wanted,
                object=record.object if data is None else data,
                last_error=record.last_error if error is None else clip(error),
                auto_paused=auto,
            ),
            record,
        )

    def resumed(self, record: Record, stamp: Stamp) -> NewVersion:
        """A paused run goes on: the same step, its attempts counted from 1 again.

        Raises:
            InvalidRunState: the run is not paused.
        """
        self._check(record, RunState.RUNNING)
        if record.run_state is not RunState.PAUSED:
            raise InvalidRunState(record.run_id, record.run_state, RunState.RUNNING)
        due_at = self._due(record.status, stamp.at, False)
        return self._new_version(
            self._next(record, stamp, run_state_reason="", run_state=RunState.RUNNING, attempt=1, due_at=due_at),
            record,
        )

    def deletion_requested(self, record: Record, reason: str, stamp: Stamp) -> NewVersion:
        """A finished run's data is to be erased.

        Raises:
            InvalidRunState: the run is not finished.
        """
        wanted = RunState.REQUESTED_DATA_DELETED
        self._check(record, wanted)
        return self._new_version(
            self._next(record, stamp, run_state_reason=reason, run_state=wanted, attempt=1), record
        )

    def deleted(self, record: Record, kept: bytes, stamp: Stamp) -> NewVersion:
        """The data is erased; the audit of transitions stays.

        Raises:
            InvalidRunState: it was not asked for.
        """
        wanted = RunState.DATA_DELETED
        self._check(record, wanted)
        version = self._new_version(
            self._next(record, stamp, run_state=wanted, object=kept, attempt=1, last_error=""), record
        )
        return replace(version, erase=True)

    # -- notes -----------------------------------------------------------------------------------------------

    def emitted(self, record: Record, due_at: datetime | None = None, *, reemitted_at: datetime | None = None) -> Note:
        """The event of the present version once more."""
        return Note(
            run_id=record.run_id,
            version=record.version,
            base_attempt=record.attempt_id,
            event=self.event(record) if reemitted_at is None else replace(self.event(record), swept=True),
            due_at=due_at,
            reemitted_at=reemitted_at,
        )

    def parked(self, record: Record, event: Event, consumer: str, due_at: datetime) -> Note:
        """An event that failed in one consumer, for that consumer alone, to be tried again later."""
        again = replace(event, consumer=consumer, attempt=event.attempt + 1, swept=False, partition=0, position=0)
        return Note(
            run_id=record.run_id, version=record.version, base_attempt=record.attempt_id, event=again, due_at=due_at
        )

    # -- the rules -------------------------------------------------------------------------------------------

    def _next(self, record: Record, stamp: Stamp, *, run_state_reason: str | None = None, **changes: Any) -> Record:
        """The version after `record` within the same visit."""
        meta = record.meta
        changes.setdefault("due_at", stamp.at)
        changes.setdefault("auto_paused", False)
        return replace(
            record,
            version=record.version + 1,
            updated_at=stamp.at,
            attempt_id=stamp.attempt_id,
            marks=record.marks.after(same_visit=True) if record.marks is not NO_MARKS else NO_MARKS,
            meta=replace(
                meta,
                run_state_reason=meta.run_state_reason if run_state_reason is None else run_state_reason,
                cause=stamp.cause,
                actor=stamp.actor,
                reason=stamp.reason,
            ),
            **changes,
        )

    def _new_version(self, record: Record, before: Record | None = None) -> NewVersion:
        due = record.due_at if record.due_at > record.updated_at else None
        previous = RunState.UNKNOWN if before is None else before.run_state
        base = "" if before is None else before.attempt_id
        return NewVersion(record=record, event=self.event(record), due_at=due, previous=previous, base_attempt=base)

    def _due(self, status: int, now: datetime, done: bool) -> datetime:
        lag = None if done else self._lags.get(status)
        return later(now, lag) if lag else now

    def _text(self, status: int) -> str:
        return self._descriptions.get(status) or self._describe(status)

    @staticmethod
    def _check(record: Record, wanted: RunState) -> None:
        if wanted not in TRANSITIONS[record.run_state]:
            raise InvalidRunState(record.run_id, record.run_state, wanted)


def clip(error: str) -> str:
    """An error text of at most `MAX_ERROR_BYTES`: its beginning and, above all, its end."""
    data = error.replace("\x00", "\\x00").encode("utf-8", "backslashreplace")
    if len(data) <= MAX_ERROR_BYTES:
        return data.decode()
    mark = b"\n... (cut) ...\n"
    head = MAX_ERROR_BYTES // 4
    tail = MAX_ERROR_BYTES - head - len(mark)
    return (data[:head] + mark + data[-tail:]).decode("utf-8", "ignore")
