"""The rules of a history: they accept what the engine writes, and find each kind of damage."""

import pytest
from msgspec.structs import replace

from tests.unit.verify.histories import (
    NOW,
    SCRIPT,
    SECOND,
    TRANSITIONS,
    Damage,
    at,
    graph,
    play,
    stamp_after,
    triggered,
)
from workflow._model.record import Meta, Record, Version
from workflow._model.run_state import RunState
from workflow.verify import Rule, check_history
from workflow_adapters.memory import MemoryRecordStore


async def history_of(*script: str) -> list[Version]:
    store = MemoryRecordStore()
    await play(store, *script)
    return list(await store.history("r"))


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (lambda history: [*history[:2], *history[3:]], Rule.VERSIONS),
        (lambda history: [*history, history[-1]], Rule.VERSIONS),
        (lambda history: [history[1], history[0], *history[2:]], Rule.VERSIONS),
        (lambda history: history[1:], Rule.VERSIONS),
        (at(3, foreign_id="another"), Rule.IDENTITY),
        (at(3, workflow_name="another"), Rule.IDENTITY),
        (at(3, created_at=NOW + SECOND), Rule.IDENTITY),
        (at(2, status=3), Rule.EDGE),
        (at(0, status=3, run_state=RunState.COMPLETED), Rule.EDGE),
        (at(0, run_state=RunState.RUNNING), Rule.RUN_STATE),
        (at(0, run_state=RunState.COMPLETED), Rule.RUN_STATE),
        (at(6, run_state=RunState.RUNNING), Rule.RUN_STATE),
        (at(6, run_state=RunState.CANCELLED), Rule.RUN_STATE),
        (at(1, run_state=RunState.COMPLETED), Rule.RUN_STATE),
        (at(4, run_state=RunState.PAUSED), Rule.RUN_STATE),
        (at(5, run_state=RunState.INITIATED), Rule.RUN_STATE),
        (at(0, visit=0), Rule.STEP),
        (at(0, attempt=2), Rule.STEP),
        (at(1, attempt=1), Rule.STEP),
        (at(1, attempt=3), Rule.STEP),
        (at(1, step_version=2), Rule.STEP),
        (at(2, attempt=2), Rule.STEP),
        (at(2, visit=2), Rule.STEP),
        (at(2, step_version=1), Rule.STEP),
        (at(3, attempt=2), Rule.STEP),
        (at(3, step_version=1), Rule.STEP),
        (at(4, attempt=2), Rule.STEP),
        (at(5, attempt=2), Rule.STEP),
        (at(3, visit=4), Rule.STEP),
        (at(5, attempt_id="r-a1"), Rule.ATTEMPT),
    ],
)
async def test_each_kind_of_damage_is_found(damage: Damage, rule: Rule) -> None:
    history = await history_of(*SCRIPT)
    assert check_history(history, graph()) == []
    assert rule in {violation.rule for violation in check_history(damage(history), graph())}


def moved_from(version: Version, status: int) -> Version:
    """The version that a move to `status` would make, though none may."""
    record = Record(**{name: getattr(version, name) for name in Version.__struct_fields__})
    return TRANSITIONS.moved(record, status, b"", stamp_after(record, "x")).record.as_version()


async def test_a_finished_run_stays_finished() -> None:
    for script in (("2", "3"), ("cancel",)):
        history = await history_of(*script)
        last = history[-1]
        again = replace(last, version=last.version + 1, attempt_id="x", run_state=RunState.RUNNING, attempt=2)
        assert {v.rule for v in check_history([*history, again], graph())} >= {Rule.RUN_STATE}
        moved = moved_from(last, 2)
        assert {v.rule for v in check_history([*history, moved], graph())} >= {Rule.RUN_STATE}


async def test_a_run_completes_only_by_entering_a_status() -> None:
    history = await history_of("2", "fail")
    found = check_history(at(2, run_state=RunState.COMPLETED, attempt=1)(history), graph())
    assert [(v.rule, v.version) for v in found] == [(Rule.RUN_STATE, 3)]


async def test_a_paused_run_does_not_move() -> None:
    history = await history_of("2", "pause")
    moved = moved_from(history[-1], 3)
    assert [v.rule for v in check_history([*history, moved], graph())] == [Rule.RUN_STATE]


async def test_data_left_after_an_erasure_is_found() -> None:
    history = await history_of("fail", "cancel", "ask", "erase")
    assert check_history(history, graph()) == []
    metas = ({"meta": Meta(run_state_reason="secret")}, {"meta": Meta(reason="secret")})
    for field in ({"object": b"secret"}, {"last_error": "secret"}, *metas):
        found = check_history(at(1, **field)(history), graph())
        assert [(v.rule, v.version) for v in found] == [(Rule.ERASURE, 2)]


async def test_without_a_graph_edges_are_left_unchecked() -> None:
    history = await history_of("2")
    assert check_history(at(1, status=9)(history)) == []


async def test_a_record_without_history_is_found() -> None:
    assert [v.rule for v in check_history([], graph(), record=triggered().record)] == [Rule.VERSIONS]
    assert check_history([], graph()) == []
