"""Callbacks: they move a waiting run, and say when they cannot."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec
import pydantic
import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import (
    Builder,
    Decision,
    InvalidPayload,
    InvalidTransition,
    NotWaiting,
    RecordNotFound,
    Run,
    RunState,
)
from workflow.protocols import Backend
from workflow.testing import trigger_callback_on

R: TypeAlias = Run[Thing, Status]


async def test_a_callback_moves_a_waiting_run_and_says_when_it_cannot(backend: Backend) -> None:
    """R-CALLBACK-1 to R-CALLBACK-8, W-25."""
    builder = Builder("called", Thing, Status)

    class Answer(msgspec.Struct):
        accepted: bool

    @builder.callback(Status.A)
    async def answer(run: Run[Thing, Status], payload: Answer) -> Literal[Status.B] | Decision:
        return Status.B if payload.accepted else run.skip()

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("asked")
        with pytest.raises(InvalidPayload, match="accepted"):
            await wf.callback("asked", Status.A, b'{"accepted": "perhaps"}')
        await wf.callback("asked", Status.A, b'{"accepted": false}')
        assert (await wf.get(run_id)).version == 1
        await trigger_callback_on(wf, "asked", run_id, Status.A, Answer(accepted=True), timeout=PATIENCE)
        await wf.wait_for("asked", Status.B, timeout=PATIENCE)
        with pytest.raises(NotWaiting) as caught:
            await wf.callback("asked", Status.A, b'{"accepted": true}')
        assert caught.value.status is Status.B


@dataclass
class DataclassAnswer:
    amount: int
    note: str = ""


class StructAnswer(msgspec.Struct):
    amount: int
    note: str = ""


class ModelAnswer(pydantic.BaseModel):
    amount: int
    note: str = pydantic.Field(default="", alias="Note")


PAYLOADS = {
    "dataclass": (DataclassAnswer, DataclassAnswer(7, "paid")),
    "struct": (StructAnswer, StructAnswer(7, "paid")),
    "pydantic": (ModelAnswer, ModelAnswer(amount=7, Note="paid")),
    "dict": (dict[str, Any], {"amount": 7, "note": "paid"}),
    "list": (list[StructAnswer], [StructAnswer(7, "paid")]),
    "number": (int, 7),
    "nothing": (StructAnswer | None, None),
    "dict for a struct": (StructAnswer, {"amount": 7, "note": "paid"}),
    "bytes for a struct": (StructAnswer, b'{"amount": 7, "note": "paid"}'),
    "bytes": (bytes, b"\xff as it is"),
}


@pytest.mark.parametrize("kind", PAYLOADS)
async def test_a_payload_may_be_an_object(backend: Backend, kind: str) -> None:
    annotation, payload = PAYLOADS[kind]
    builder = Builder("payloads", Thing, Status)
    received: list[object] = []

    async def answer(run: Run[Thing, Status], payload: Any) -> Literal[Status.B]:
        received.append(payload)
        return Status.B

    answer.__annotations__["payload"] = annotation
    builder.callback(Status.A)(answer)
    wf = builder.build(backend)
    run_id = await wf.trigger("key")
    run = await wf.callback("key", Status.A, payload)
    assert (run.run_id, run.status, run.version, run.run_state) == (run_id, Status.B, 2, RunState.COMPLETED)
    wanted = StructAnswer(7, "paid") if kind.endswith("for a struct") else payload
    assert received == [wanted]
    assert type(received[0]) is type(wanted)


async def test_a_callback_that_skips_returns_the_run_as_it_is(backend: Backend) -> None:
    builder = Builder("skips", Thing, Status)

    @builder.callback(Status.A, to=Status.B)
    async def answer(run: Run[Thing, Status], payload: bytes) -> Decision:
        run.object.text = "dropped"
        return run.skip()

    wf = builder.build(backend)
    await wf.trigger("key")
    run = await wf.callback("key", Status.A)
    assert (run.version, run.status, run.object.text) == (1, Status.A, "")


async def test_callbacks_of_one_status_each_get_the_whole_payload(backend: Backend) -> None:
    """R-BUILD-5, R-CALLBACK-6, R-CALLBACK-9, W-25: in order of declaration, until one moves the run."""
    builder = Builder("several", Thing, Status)
    got: list[object] = []

    @builder.callback(Status.A)
    async def raw(run: R, payload: bytes) -> Decision:
        got.append(payload)
        return run.skip()

    @builder.callback(Status.A)
    def listed(run: R, payload: list[int]) -> Decision:
        got.append(payload)
        run.object.count += sum(payload)
        return run.save_and_repeat()

    @builder.callback(Status.A)
    async def bare(run: R, payload) -> Literal[Status.B]:  # type: ignore[no-untyped-def]
        got.append(payload)
        run.object.count *= 2
        return Status.B

    @builder.callback(Status.A)
    async def late(run: R, payload: bytes) -> Literal[Status.C]:
        got.append("too late")
        return Status.C

    wf = builder.build(backend)
    run_id = await wf.trigger("key")
    await wf.callback("key", Status.A, b"[1,2]")
    assert got == [b"[1,2]", [1, 2], b"[1,2]"]
    run = await wf.get(run_id)
    assert (run.status, run.object.count, run.version) == (Status.B, 6, 3)


async def test_a_callback_that_fails_is_the_callers_to_know_and_changes_nothing(backend: Backend) -> None:
    """R-CALLBACK-3, R-CALLBACK-7."""
    builder = Builder("raising", Thing, Status)

    @builder.callback(Status.A, to=Status.B)
    async def answer(run: R, payload: bytes) -> Any:
        run.object.text = "half-written"
        if payload == b"raise":
            raise KeyError("mine")
        if payload == b"forbidden":
            return Status.C
        if payload == b"unencodable":
            run.object.text = object()  # type: ignore[assignment]
        return Status.B

    wf = builder.build(backend)
    with pytest.raises(RecordNotFound):
        await wf.callback("key", Status.A)
    run_id = await wf.trigger("key")
    with pytest.raises(KeyError, match="mine"):
        await wf.callback("key", Status.A, b"raise")
    with pytest.raises(InvalidTransition) as caught:
        await wf.callback("key", Status.A, b"forbidden")
    assert (caught.value.run_id, caught.value.current, caught.value.wanted) == (run_id, Status.A, Status.C)
    with pytest.raises(Exception, match=rf"raising.*{run_id}.*encoded"):
        await wf.callback("key", Status.A, b"unencodable")
    run = await wf.get(run_id)
    assert (run.version, run.object, run.attempt) == (1, Thing(), 1)


async def test_not_waiting_says_where_the_run_is(backend: Backend) -> None:
    """R-CALLBACK-4, R-CALLBACK-5, W-25."""
    builder = Builder("where", Thing, Status)
    builder.callback(Status.A, to=Status.B)(lambda run, payload: Status.B)
    builder.callback(Status.B, to=Status.C)(lambda run, payload: Status.C)
    wf = builder.build(backend)
    run_id = await wf.trigger("key")
    for prepare, status, state in (
        (None, Status.A, RunState.INITIATED),
        (wf.pause, Status.A, RunState.PAUSED),
        (wf.cancel, Status.A, RunState.CANCELLED),
    ):
        if prepare is not None:
            await prepare(run_id)
        with pytest.raises(NotWaiting) as caught:
            await wf.callback("key", Status.B if prepare is None else Status.A)
        assert (caught.value.status, caught.value.run_state) == (status, state)
        assert (caught.value.foreign_id, caught.value.run_id) == ("key", run_id)
        assert str(state) in str(caught.value)
