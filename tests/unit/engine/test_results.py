"""From a handler's answer to the version it asks for: statuses, decisions, mistakes and failures."""

from collections.abc import Callable
from datetime import timedelta
from enum import IntEnum
from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.engines import Status, Thing, engine, first_record
from workflow import Backoff, Options, Run
from workflow._engine.results import ReturnMissing, auto_pause, failure, interpret
from workflow._model.change import NewVersion
from workflow._model.decision import Decision, Kind
from workflow._model.record import VersionCause
from workflow._model.run_state import RunState
from workflow.errors import InvalidObject, InvalidTransition

Answer = Callable[[Run[Any, Any]], object]


async def answered(answer: Answer, destinations: frozenset[int] = frozenset({2, 3})) -> NewVersion | None:
    """The version that the answer of a handler leads to, for a new run at A."""
    of = engine()
    record = await first_record(of)
    run = of.handling(record)
    return interpret(of, record, run, answer(run), destinations, of.stamp(VersionCause.STEP))


def changing(answer: Answer) -> Answer:
    def handler(run: Run[Any, Any]) -> object:
        run.object.count += 7
        return answer(run)

    return handler


@pytest.mark.parametrize(
    ("answer", "run_state", "status", "reason"),
    [
        (lambda run: Status.B, RunState.RUNNING, 2, ""),
        (lambda run: Status.C, RunState.COMPLETED, 3, ""),
        (lambda run: run.pause("look"), RunState.PAUSED, 1, "look"),
        (lambda run: run.cancel("enough"), RunState.CANCELLED, 1, "enough"),
        (lambda run: run.save_and_repeat(), RunState.RUNNING, 1, ""),
    ],
    ids=["move", "end", "pause", "cancel", "repeat"],
)
async def test_a_status_or_a_decision_becomes_a_version_with_the_changed_object(
    answer: Answer, run_state: RunState, status: int, reason: str
) -> None:
    version = await answered(changing(answer))
    assert version is not None
    record = version.record
    assert (record.version, record.run_state, record.status) == (2, run_state, status)
    assert record.object == b'{"count":7,"text":""}'
    assert (record.meta.run_state_reason, record.meta.cause) == (reason, VersionCause.STEP)
    assert not record.auto_paused


async def test_a_skip_asks_for_no_version() -> None:
    assert await answered(changing(lambda run: run.skip())) is None


class Stranger(IntEnum):
    B = 2


@pytest.mark.parametrize(
    "answer",
    [lambda run: Status.A, lambda run: 2, lambda run: Stranger.B, lambda run: None, lambda run: "B", lambda run: True],
    ids=["not declared", "number", "another enum", "nothing", "text", "bool"],
)
async def test_what_is_not_among_the_destinations_is_refused(answer: Answer) -> None:
    with pytest.raises(InvalidTransition) as caught:
        await answered(answer)
    assert (caught.value.workflow_name, caught.value.run_id, caught.value.current) == ("unit", "run", Status.A)


@pytest.mark.parametrize("result", [Status.B, None], ids=repr)
async def test_a_decision_that_was_made_and_not_returned_is_named(result: object) -> None:
    def forgetful(run: Run[Any, Any]) -> object:
        run.pause("look")
        return result

    with pytest.raises(ReturnMissing, match=r"PAUSE.*`return` is missing"):
        await answered(forgetful)


async def test_of_two_decisions_the_last_one_must_be_returned() -> None:
    def undecided(run: Run[Any, Any]) -> object:
        first = run.pause("look")
        run.cancel("enough")
        return first

    with pytest.raises(ReturnMissing, match="CANCEL"):
        await answered(undecided)


async def test_a_decision_may_come_from_elsewhere() -> None:
    version = await answered(lambda run: Decision(Kind.CANCEL, "told to"))
    assert version is not None
    assert version.record.meta.run_state_reason == "told to"


async def test_an_object_that_cannot_be_stored_fails_the_attempt_unless_it_is_dropped() -> None:
    def spoiling(answer: Answer) -> Answer:
        def handler(run: Run[Any, Any]) -> object:
            run.object = Thing(count="many")  # type: ignore[arg-type]
            return answer(run)

        return handler

    for answer in (lambda run: Status.B, lambda run: run.pause()):
        with pytest.raises(InvalidObject, match="count"):
            await answered(spoiling(answer))
    assert await answered(spoiling(lambda run: run.skip())) is None


async def test_functions_for_the_transaction_go_with_the_version_and_are_dropped_by_a_skip() -> None:
    def write(connection: object) -> None: ...

    def writing(answer: Answer) -> Answer:
        def handler(run: Run[Any, Any]) -> object:
            run.on_commit(write)
            run.on_commit(print)
            return answer(run)

        return handler

    for answer in (lambda run: Status.B, lambda run: run.save_and_repeat(), lambda run: run.cancel()):
        version = await answered(writing(answer))
        assert version is not None
        assert version.on_commit == (write, print)
    assert await answered(writing(lambda run: run.skip())) is None


async def test_a_run_takes_no_decision_after_its_handler_has_answered() -> None:
    kept: list[Run[Any, Any]] = []

    def handler(run: Run[Any, Any]) -> object:
        kept.append(run)
        return Status.B

    await answered(handler)
    with pytest.raises(RuntimeError, match=r"use Workflow.pause\(\)"):
        kept[0].pause()
    with pytest.raises(RuntimeError, match="no commit"):
        kept[0].on_commit(print)


@pytest.mark.parametrize(
    ("threshold", "attempt", "paused"), [(3, 1, False), (3, 2, False), (3, 3, True), (3, 9, True), (0, 9, False)]
)
async def test_a_failure_is_tried_again_until_it_happened_too_often(threshold: int, attempt: int, paused: bool) -> None:
    of = engine()
    record = replace(await first_record(of), attempt=attempt)
    options = Options(pause_after_err_count=threshold, err_back_off=Backoff(first=timedelta(seconds=1), jitter=0))
    stamp = of.stamp(VersionCause.FAILURE)
    after = failure(of, record, "boom", options, stamp).record
    assert (after.last_error, after.meta.cause) == ("boom", VersionCause.FAILURE)
    assert (after.run_state is RunState.PAUSED, after.auto_paused) == (paused, paused)
    if paused:
        assert (after.attempt, after.meta.run_state_reason) == (
            attempt,
            "max error retry threshold hit - automatically paused",
        )
    else:
        assert after.attempt == attempt + 1
        assert after.due_at == stamp.at + min(timedelta(seconds=2 ** (attempt - 1)), timedelta(minutes=5))


async def test_the_engines_own_pause_is_marked_as_such() -> None:
    of = engine()
    after = auto_pause(of, await first_record(of), "unreadable", "trace", of.stamp(VersionCause.FAILURE)).record
    assert (after.run_state, after.auto_paused, after.last_error) == (RunState.PAUSED, True, "trace")
    assert after.meta.run_state_reason == "unreadable"
