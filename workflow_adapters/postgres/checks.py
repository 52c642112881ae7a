"""Names the field of a value that Postgres cannot hold.

A statement for a whole batch says only that something is wrong with it. So the values are looked at after the database
has refused them, never before: the usual value is good.
"""

from workflow.protocols import Change, DeadLetter, Event, HeldCallback, NewVersion, Record, TimeoutRecord, WorkflowInfo

from ..kit.text import INT4, INT8, check_number, check_text

__all__ = [
    "check_change",
    "check_event",
    "check_held_callback",
    "check_letter",
    "check_memo",
    "check_timeout",
    "check_workflow",
]

_LONGEST_NAME = 1000
"""Bytes of a name, foreign ID or run ID: two of them must fit into one index entry (2,704 bytes)."""

_LONGEST_CALLBACK_ID = 500
"""Bytes of the id of a held callback: it must fit into one index entry together with two names."""


def check_change(change: Change) -> None:
    """Name the field of a change that the database refused.

    Raises:
        ValueError: Postgres cannot hold one of the fields.
    """
    check_text("run_id", change.run_id, _LONGEST_NAME)
    if isinstance(change, NewVersion):
        _check_record(change.record)
        for id_ in change.takes:
            check_text("takes", id_, _LONGEST_CALLBACK_ID)
    else:
        check_text("claimed_by", change.claimed_by or "")
        check_number("version", change.version, INT4)
    if change.event is not None:
        check_event(change.event)


def check_event(event: Event) -> None:
    """Name the field of an event that the database refused.

    Raises:
        ValueError: Postgres cannot hold one of the fields.
    """
    for field in ("topic", "workflow_name", "run_id", "foreign_id", "consumer"):
        check_text(f"event.{field}", getattr(event, field), _LONGEST_NAME)


def _check_record(new: Record) -> None:
    for field in ("workflow_name", "foreign_id", "attempt_id"):
        check_text(field, getattr(new, field), _LONGEST_NAME)
    check_text("last_error", new.last_error)
    for field in ("run_state_reason", "status_description", "trace_origin", "actor", "reason"):
        check_text(f"meta.{field}", getattr(new.meta, field))
    for header, value in new.meta.trace_context.items():
        check_text("meta.trace_context", header)
        check_text("meta.trace_context", value)
    check_number("status", new.status, INT8)
    for field in ("version", "visit", "step_version", "attempt"):
        check_number(field, getattr(new, field), INT4)


def check_timeout(timer: TimeoutRecord) -> None:
    """Name the field of a timer that the database refused.

    Raises:
        ValueError: Postgres cannot hold one of the fields.
    """
    for field in ("id", "workflow_name", "foreign_id", "run_id"):
        check_text(field, getattr(timer, field), _LONGEST_NAME)
    check_text("last_error", timer.last_error)
    check_number("status", timer.status, INT8)
    for field in ("visit", "timer", "attempt", "claims"):
        check_number(field, getattr(timer, field), INT4)


def check_letter(letter: DeadLetter) -> None:
    """Name the field of a dead letter that the database refused.

    Raises:
        ValueError: Postgres cannot hold one of the fields.
    """
    for field in ("workflow_name", "run_id"):
        check_text(field, getattr(letter, field), _LONGEST_NAME)
    check_text("source", letter.source)
    check_text("reason", letter.reason)


def check_held_callback(callback: HeldCallback) -> None:
    """Name the field of a held callback that the database refused.

    Raises:
        ValueError: Postgres cannot hold one of the fields.
    """
    check_text("id", callback.id, _LONGEST_CALLBACK_ID)
    for field in ("workflow_name", "foreign_id", "run_id"):
        check_text(field, getattr(callback, field), _LONGEST_NAME)
    check_number("status", callback.status, INT8)


def check_memo(workflow_name: str, key: str, text: str) -> None:
    """Name the field of a memo that the database refused.

    Raises:
        ValueError: Postgres cannot hold one of the fields.
    """
    check_text("workflow_name", workflow_name, _LONGEST_NAME)
    check_text("key", key, _LONGEST_NAME)
    check_text("text", text)


def check_workflow(info: WorkflowInfo) -> None:
    """Name the field of a definition that the database refused.

    Raises:
        ValueError: Postgres cannot hold one of the fields.
    """
    check_text("name", info.name, _LONGEST_NAME)
    check_text("fingerprint", info.fingerprint, _LONGEST_NAME)
