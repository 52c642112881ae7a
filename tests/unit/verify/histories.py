"""Histories as the engine writes them, and ways to damage them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from workflow._engine.transitions import Transitions
from workflow._model.change import NewVersion
from workflow._model.graph import StatusGraph
from workflow._model.record import Record, Stamp, Version, VersionCause
from workflow._model.run_state import RunState
from workflow_adapters.memory import MemoryRecordStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def graph() -> StatusGraph:
    made = StatusGraph()
    for edge in ((1, 2), (2, 1), (2, 2), (2, 3)):
        made.add(*edge)
    return made


TRANSITIONS = Transitions("w", graph(), str, {})


def triggered(run_id: str = "r", foreign_id: str = "f", status: int = 1) -> NewVersion:
    return TRANSITIONS.triggered(
        foreign_id=foreign_id,
        run_id=run_id,
        status=status,
        data=b"{}",
        stamp=Stamp(at=NOW, attempt_id=run_id, cause=VersionCause.TRIGGER),
        start_at=None,
        trace_origin="",
        trace_context={},
    )


def stamp_after(record: Record, attempt_id: str) -> Stamp:
    """A second later."""
    return Stamp(at=record.updated_at + SECOND, attempt_id=attempt_id, cause=VersionCause.STEP, reason="because")


def follow(record: Record, verb: str, attempt_id: str) -> NewVersion:
    """What the engine would write next."""
    stamp = stamp_after(record, attempt_id)
    match verb:
        case "fail":
            return TRANSITIONS.failed(record, "boom", SECOND, stamp)
        case "repeat":
            return TRANSITIONS.repeated(record, b'{"n":1}', stamp)
        case "pause":
            return TRANSITIONS.stopped(record, RunState.PAUSED, "why", stamp)
        case "auto-pause":
            return TRANSITIONS.stopped(record, RunState.PAUSED, "why", stamp, error="boom", auto=True)
        case "cancel":
            return TRANSITIONS.stopped(record, RunState.CANCELLED, "why", stamp)
        case "resume":
            return TRANSITIONS.resumed(record, stamp)
        case "ask":
            return TRANSITIONS.deletion_requested(record, "why", stamp)
        case "erase":
            return TRANSITIONS.deleted(record, b"", stamp)
    return TRANSITIONS.moved(record, int(verb), b"{}", stamp)


async def play(store: MemoryRecordStore, *script: str, run_id: str = "r", foreign_id: str = "f") -> Record:
    move = triggered(run_id, foreign_id)
    assert [outcome.ok for outcome in await store.store([move])] == [True]
    for number, verb in enumerate(script):
        move = follow(move.record, verb, f"{run_id}-a{number}")
        assert [outcome.ok for outcome in await store.store([move])] == [True]
    return move.record


Damage = Callable[[list[Version]], list[Version]]


def at(index: int, **changes: object) -> Damage:
    def damage(history: list[Version]) -> list[Version]:
        return [*history[:index], replace(history[index], **changes), *history[index + 1 :]]

    return damage


SCRIPT = ("fail", "2", "pause", "resume", "repeat", "3")
"""Versions: 1 triggered, 2 failed, 3 moved, 4 paused, 5 resumed, 6 repeated, 7 completed."""
