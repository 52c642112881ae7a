"""Names the field of a value that a file cannot hold.

SQLite takes text with NUL and then loses the rest of it in some of its functions, so changes are looked at for NUL
before they are written. Everything else is refused by SQLite or by the encoder, without the name of the field; only
then the fields are looked at one by one.
"""

from collections.abc import Iterator

from workflow.protocols import Change, NewVersion, Record

from ..kit.text import check_number, check_text

__all__ = ["check_change", "has_nul"]

_EVENT = ("topic", "workflow_name", "run_id", "foreign_id", "consumer")
_META = ("run_state_reason", "status_description", "trace_origin", "actor", "reason")
_NUMBERS = ("status", "version", "visit", "step_version", "attempt")


def has_nul(change: NewVersion) -> bool:
    """True if a text of a new version has a NUL."""
    r, e = change.record, change.event
    meta = r.meta
    return (
        "\0" in f"{r.workflow_name}{r.foreign_id}{r.run_id}{r.attempt_id}{r.last_error}{e.topic}{e.consumer}"
        or "\0" in f"{meta.run_state_reason}{meta.status_description}{meta.trace_origin}{meta.actor}{meta.reason}"
        or (bool(meta.trace_context) and any("\0" in text for _, text in _headers(r)))
    )


def check_change(change: Change) -> None:
    """Name the field of a change that cannot be stored.

    Raises:
        ValueError: a file cannot hold one of the fields.
    """
    check_text("run_id", change.run_id)
    if isinstance(change, NewVersion):
        _check_record(change.record)
        for id_ in change.takes:
            check_text("takes", id_)
    else:
        check_text("claimed_by", change.claimed_by or "")
        check_number("version", change.version)
    if change.event is not None:
        for field in _EVENT:
            check_text(f"event.{field}", getattr(change.event, field))
        for field in ("status", "version", "attempt"):
            check_number(f"event.{field}", getattr(change.event, field))


def _check_record(r: Record) -> None:
    for field in ("workflow_name", "foreign_id", "attempt_id", "last_error"):
        check_text(field, getattr(r, field))
    for field in _META:
        check_text(f"meta.{field}", getattr(r.meta, field))
    for field, text in _headers(r):
        check_text(field, text)
    for field in _NUMBERS:
        check_number(field, getattr(r, field))


def _headers(r: Record) -> Iterator[tuple[str, str]]:
    for header, value in r.meta.trace_context.items():
        yield "meta.trace_context", header
        yield "meta.trace_context", value
