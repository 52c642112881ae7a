"""Objects of every kind from trigger to the end, encrypted ones, and ones that cannot be written or read."""

import asyncio
import base64
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal, TypedDict

import attrs
import msgspec
import pydantic
import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, InvalidObject, InvalidPayload, Options, Run, RunState
from workflow.protocols import Backend, Codec
from workflow.testing import FakeClock, await_timeout_insert, require, wait_for
from workflow_adapters.memory import MemoryBackend
from workflow_adapters.sqlite import SQLiteBackend


class Line(msgspec.Struct):
    name: str
    price: float


class AStruct(msgspec.Struct):
    count: int = 0
    lines: list[Line] = []
    at: datetime | None = None


@dataclass
class ADataclass:
    count: int = 0
    lines: list[Line] = field(default_factory=list)
    at: datetime | None = None


@attrs.define
class AnAttrs:
    count: int = 0
    lines: list[Line] = attrs.Factory(list)
    at: datetime | None = None


class ATypedDict(TypedDict, total=False):
    count: int
    lines: list[Line]
    at: datetime | None


class PydanticLine(pydantic.BaseModel):
    name: str
    price: float


class AModel(pydantic.BaseModel):
    count: int = pydantic.Field(default=0, ge=0)
    lines: list[PydanticLine] = []
    at: datetime | None = None


AT = datetime(2025, 1, 1, 12, tzinfo=UTC)
LINES = [Line("a", 1.5)]
KINDS: dict[str, tuple[Any, Any]] = {
    "struct": (AStruct, AStruct(1, LINES, AT)),
    "dataclass": (ADataclass, ADataclass(1, LINES, AT)),
    "attrs": (AnAttrs, AnAttrs(1, LINES, AT)),
    "typed dict": (ATypedDict, {"count": 1, "lines": LINES, "at": AT}),
    "pydantic": (AModel, AModel(count=1, lines=[PydanticLine(name="a", price=1.5)], at=AT)),
    "dict": (dict, {"count": 1, "deep": [{"a": None}]}),
    "list": (list[int], [1, 2]),
    "int": (int, 1),
    "str": (str, "text"),
}


def add_one(value: Any) -> Any:
    """The object after a step: changed in place where that is possible, else a new one."""
    if isinstance(value, dict):
        value["count"] = value.get("count", 0) + 1
    elif isinstance(value, list):
        value.append(9)
    elif isinstance(value, int):
        return value + 1
    elif isinstance(value, str):
        return value + "+"
    else:
        value.count += 1
    return value


@pytest.mark.parametrize("kind", [*KINDS])
async def test_an_object_of_any_kind_goes_through_steps_and_comes_back_typed(backend: Backend, kind: str) -> None:
    object_type, value = KINDS[kind]
    builder: Builder[Any, Status] = Builder("kinds", object_type, Status)

    @builder.step(Status.A)
    async def work(run: Run[Any, Status]) -> Literal[Status.B]:
        run.object = add_one(run.object)
        return Status.B

    @builder.callback(Status.B)
    async def called(run: Run[Any, Status], payload: bytes) -> Literal[Status.C]:
        run.object = add_one(run.object)
        return Status.C

    wf = builder.build(backend)
    async with wf.running():
        given = await wf.trigger("given", value)
        zero = await wf.trigger("zero")
        for key, run_id, start in (("given", given, value), ("zero", zero, object_type())):
            once = add_one(msgspec.json.decode(msgspec.json.encode(start)) if isinstance(start, dict | list) else start)
            await wf.wait_for(key, Status.B, run_id=run_id, timeout=PATIENCE)
            await wf.callback(key, Status.B)
            run = await wf.get(run_id)
            if not isinstance(start, dict | list):
                await require(wf, key, Status.C, add_one(once), timeout=PATIENCE)
            assert type(run.object) is (dict if isinstance(value, dict) else type(value))
        if kind == "typed dict":
            assert (await wf.get(given)).object == {"count": 3, "lines": LINES, "at": AT}


async def test_a_type_with_required_fields_needs_an_initial_value(backend: Backend) -> None:
    """R-TRIGGER-4."""

    class Total(TypedDict):
        name: str

    required: tuple[tuple[Any, Any], ...] = ((Line, Line("a", 1.0)), (PydanticLine, PydanticLine(name="a", price=1)))
    for object_type, value in (*required, (Total, {"name": "a"})):
        builder: Builder[Any, Status] = Builder(f"required by {object_type.__name__}", object_type, Status)
        builder.step(Status.A, to=Status.B)(lambda run: Status.B)
        wf = builder.build(backend)
        with pytest.raises(InvalidObject, match=r"initial_value.*name") as caught:
            await wf.trigger("key")
        assert caught.value.field == "initial_value"
        run_id = await wf.trigger("key", value)
        assert (await wf.get(run_id)).object == value


async def test_a_pydantic_model_validates_objects_and_payloads_without_repeating_values(backend: Backend) -> None:
    builder = Builder("validated", AModel, Status)

    @builder.callback(Status.A)
    async def called(run: Run[AModel, Status], payload: PydanticLine) -> Literal[Status.B]:
        run.object.lines.append(payload)
        return Status.B

    wf = builder.build(backend)
    with pytest.raises(InvalidObject, match="count") as caught:
        await wf.trigger("key", AModel.model_construct(count=-12345))
    assert "12345" not in str(caught.value)
    run_id = await wf.trigger("key")
    with pytest.raises(InvalidPayload, match="price") as refused:
        await wf.callback("key", Status.A, b'{"name": "a", "price": "hunter2"}')
    assert "hunter2" not in str(refused.value)
    await wf.callback("key", Status.A, b'{"name": "a", "price": 2}')
    assert (await wf.get(run_id)).object.lines == [PydanticLine(name="a", price=2)]


class Sealed(Codec[Thing]):
    """Stands for encryption: what it writes shows nothing of what it was given."""

    KEY = 0x5A

    def encode(self, value: Thing) -> bytes:
        return b"sealed:" + base64.b64encode(bytes(byte ^ self.KEY for byte in msgspec.json.encode(value)))

    def decode(self, data: bytes) -> Thing:
        if not data.startswith(b"sealed:"):
            raise ValueError("not sealed")
        plain = bytes(byte ^ self.KEY for byte in base64.b64decode(data.removeprefix(b"sealed:")))
        return msgspec.json.decode(plain, type=Thing)


def everything_in(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


async def test_an_encrypting_codec_leaves_nothing_of_the_plain_text_in_the_file(tmp_path: Path) -> None:
    """R-MODEL-5, R-TESTING-4: also failures, timers, a callback and deletion go through it."""
    clock = FakeClock()
    builder = Builder("sealed", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        if run.attempt == 1:
            raise RuntimeError("without the secret")
        run.object.text += " and TOPSECRET two"
        return Status.B

    @builder.timeout(Status.B, timedelta(hours=1))
    async def later(run: Run[Thing, Status], now: datetime) -> Literal[Status.C]:
        assert run.object.text == "TOPSECRET one and TOPSECRET two"
        return Status.C

    def keep_the_count(thing: Thing) -> Thing:
        return Thing(count=thing.count, text="TOPSECRET but kept")

    async with SQLiteBackend(tmp_path / "runs.db") as backend:
        wf = builder.build(
            backend,
            codec=Sealed(),
            clock=clock,
            custom_delete=keep_the_count,
            default_options=Options(err_back_off=timedelta(0)),
        )
        async with wf.running():
            run_id = await wf.trigger("key", Thing(7, "TOPSECRET one"))
            await require(wf, "key", Status.B, Thing(7, "TOPSECRET one and TOPSECRET two"), timeout=PATIENCE)
            await await_timeout_insert(wf, "key", run_id, Status.B, timeout=PATIENCE)
            clock.advance(timedelta(hours=1))
            await wf.wait_for("key", Status.C, timeout=PATIENCE)
            await wf.delete_data(run_id)
            gone = await wait_for(wf, "key", lambda run: run.run_state is RunState.DATA_DELETED, timeout=PATIENCE)
            assert gone.object == Thing(7, "TOPSECRET but kept")
    assert b"TOPSECRET" not in everything_in(tmp_path)


async def test_an_object_that_cannot_be_written_fails_its_attempt_by_name(backend: Backend) -> None:
    """W-18: and it counts."""
    builder = Builder("unwritable", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        wrong: Any = {"text": "a dict"} if run.attempt == 1 else Thing(text=object())  # type: ignore[arg-type]
        if run.attempt < 3:
            run.object = wrong
        return Status.B

    wf = builder.build(backend, default_options=Options(err_back_off=timedelta(0)))
    async with wf.running():
        run_id = await wf.trigger("key")
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
        first, second = [version.last_error for version in (await wf.history(run_id))[1:3]]
        assert first.startswith(f"InvalidObject: workflow 'unwritable', run '{run_id}': invalid object: cannot be")
        assert "expected an object of type Thing, got dict" in first
        assert "object" in second


async def test_a_stored_object_that_no_longer_decodes_pauses_its_run_alone(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """For steps and for timers; the reason names workflow, run and field; a callback tells its caller."""

    class Old(msgspec.Struct):
        count: str | int = 0

    old: Builder[Old, Status] = Builder("changed", Old, Status)
    old.step(Status.A, to=Status.D)(lambda run: Status.D)
    old.callback(Status.B, to=Status.D)(lambda run, payload: Status.D)
    old.timeout(Status.C, timedelta(hours=1), to=Status.D)(lambda run, now: Status.D)
    front = old.build(backend, starting_point=[Status.A, Status.B, Status.C])
    ids = {}
    for status in (Status.A, Status.B, Status.C):
        for key, count in (("bad", "many"), ("good", 3)):
            name = f"{key} {status.name}"
            ids[name] = await front.trigger(name, Old(count), starting_point=status)

    clock = FakeClock(datetime.now(UTC))
    builder = Builder("changed", Thing, Status)
    builder.step(Status.A, to=Status.D)(lambda run: Status.D)
    builder.callback(Status.B, to=Status.D)(lambda run, payload: Status.D)
    builder.timeout(Status.C, timedelta(hours=1), to=Status.D)(lambda run, now: Status.D)
    wf = builder.build(backend, starting_point=[Status.A, Status.B, Status.C], clock=clock)
    async with wf.running():
        await wf.wait_for("good A", Status.D, timeout=PATIENCE)
        with pytest.raises(InvalidObject, match="count") as caught:
            await wf.callback("bad B", Status.B)
        assert (caught.value.workflow_name, caught.value.run_id) == ("changed", ids["bad B"])
        await wf.callback("good B", Status.B)
        await await_timeout_insert(wf, "good C", ids["good C"], Status.C, timeout=PATIENCE)
        clock.advance(timedelta(hours=1))
        await wf.wait_for("good C", Status.D, timeout=PATIENCE)
        for name in ("bad A", "bad C"):
            paused = await wait_for(wf, name, lambda run: run.run_state is RunState.PAUSED, timeout=PATIENCE)
            reason = paused.meta.run_state_reason
            assert "'changed'" in reason
            assert ids[name] in reason
            assert "count: Expected `int`, got `str`" in reason
            with pytest.raises(InvalidObject, match=ids[name]):
                _ = paused.object
        assert {run.foreign_id for run in await wf.list(run_states=[RunState.PAUSED])} == {"bad A", "bad C"}
        assert (await wf.get(ids["bad B"])).version == 1


async def test_a_timer_that_is_armed_already_pauses_a_run_it_cannot_read(backend: Backend) -> None:
    clock = FakeClock()

    class Old(msgspec.Struct):
        count: str | int = 0

    old: Builder[Old, Status] = Builder("armed", Old, Status)
    old.timeout(Status.A, timedelta(hours=1), to=Status.B)(lambda run, now: Status.B)
    front = old.build(backend, clock=clock)
    async with front.running():
        run_id = await front.trigger("key", Old("many"))
        await await_timeout_insert(front, "key", run_id, Status.A, timeout=PATIENCE)
    builder = Builder("armed", Thing, Status)
    builder.timeout(Status.A, timedelta(hours=1), to=Status.B)(lambda run, now: Status.B)
    wf = builder.build(backend, clock=clock)
    async with wf.running():
        clock.advance(timedelta(hours=1))
        paused = await wait_for(wf, "key", lambda run: run.run_state is RunState.PAUSED, timeout=PATIENCE)
        assert "count" in paused.meta.run_state_reason
    async with front.running():
        await front.resume(run_id)
        await front.wait_for("key", Status.B, timeout=PATIENCE)


class OldStatus(IntEnum):
    A = 1
    B = 2
    GONE = 77


async def test_a_status_that_is_no_longer_in_the_enum_pauses_its_run_alone(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    old = Builder("shrunk", Thing, OldStatus)
    old.step(OldStatus.A, to=OldStatus.GONE)(lambda run: OldStatus.GONE)
    old.step(OldStatus.GONE, to=OldStatus.B)(lambda run: OldStatus.B)
    front = old.build(backend)
    lost = await front.trigger("lost", starting_point=OldStatus.GONE)
    await front.trigger("fine")

    builder = Builder("shrunk", Thing, Status)
    builder.step(Status.A, to=Status.B)(lambda run: Status.B)
    wf = builder.build(backend, sweep_after=timedelta(milliseconds=100))
    with caplog.at_level(logging.ERROR):
        async with wf.running():
            await wf.wait_for("fine", Status.B, timeout=PATIENCE)
            paused = await wait_for(wf, "lost", lambda run: run.run_state is RunState.PAUSED, timeout=PATIENCE)
    assert paused.run_id == lost
    assert paused.status == 77
    assert not isinstance(paused.status, Status)
    assert paused.meta.run_state_reason == "status 77 is no longer one of Status"
    assert any("status 77" in record.getMessage() for record in caplog.records)


async def test_custom_delete_decides_what_is_kept_and_a_failing_one_is_tried_again(backend: Backend) -> None:
    """R-OPT-6, R-DELETE-1, R-DELETE-5, R-DELETE-6, W-23: sync or async, and again on request."""
    calls: list[str] = []

    async def keep(thing: Thing) -> Thing:
        calls.append(thing.text)
        if len(calls) == 1:
            raise RuntimeError("not now")
        return Thing(count=thing.count)

    builder = Builder("kept", Thing, Status)
    builder.step(Status.A, to=Status.B)(lambda run: Status.B)
    wf = builder.build(backend, custom_delete=keep, default_options=Options(err_back_off=timedelta(0)))  # type: ignore[arg-type]
    async with wf.running():
        run_id = await wf.trigger("key", Thing(3, "secret"))
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
        await wf.delete_data(run_id, "asked")
        gone = await wait_for(wf, "key", lambda run: run.run_state is RunState.DATA_DELETED, timeout=PATIENCE)
        assert (gone.object, gone.meta.run_state_reason, calls) == (Thing(3), "asked", ["secret", "secret"])
        version = gone.version
        await wf.delete_data(run_id)
        async with asyncio.timeout(20):
            while (again := await wf.get(run_id)).version < version + 2:
                await asyncio.sleep(0.01)
        assert (again.run_state, again.object) == (RunState.DATA_DELETED, Thing(3))
        assert await wf.trigger("key") != run_id


async def test_without_a_codec_of_ones_own_objects_are_json() -> None:
    """R-MODEL-5."""
    backend = MemoryBackend()
    builder = Builder("json", Thing, Status)
    builder.step(Status.A, to=Status.B)(lambda run: Status.B)
    wf = builder.build(backend)
    run_id = await wf.trigger("key", Thing(1, "é"))
    assert (await backend.record_store.lookup([run_id]))[run_id].object == '{"count":1,"text":"é"}'.encode()
