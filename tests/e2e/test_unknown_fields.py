"""A release handles runs of a newer one, whose objects have fields that it does not know."""

import logging
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

import attrs
import msgspec
import pydantic
import pytest

from tests.e2e.model import PATIENCE, Status
from workflow import Builder, JSONCodec, Run, RunState
from workflow.protocols import Backend, Codec
from workflow.testing import wait_for


class OldStruct(msgspec.Struct):
    count: int = 0


class NewStruct(msgspec.Struct):
    count: int = 0
    added: str = "default"


@dataclass
class OldData:
    count: int = 0


@dataclass
class NewData:
    count: int = 0
    added: str = "default"


@attrs.define
class OldAttrs:
    count: int = 0


@attrs.define
class NewAttrs:
    count: int = 0
    added: str = "default"


class OldModel(pydantic.BaseModel):
    count: int = 0


class NewModel(pydantic.BaseModel):
    count: int = 0
    added: str = "default"


class OldKeys(TypedDict, total=False):
    count: int


class NewKeys(TypedDict, total=False):
    count: int
    added: str


KINDS: dict[str, tuple[Any, Any]] = {
    "struct": (OldStruct, NewStruct),
    "dataclass": (OldData, NewData),
    "attrs": (OldAttrs, NewAttrs),
    "pydantic": (OldModel, NewModel),
    "typed dict": (OldKeys, NewKeys),
    "dict": (dict, dict),
}


def count_on(value: Any) -> None:
    if isinstance(value, dict):
        value["count"] += 1
    else:
        value.count += 1


def old_release(object_type: Any) -> Builder[Any, Status]:
    """A step that repeats itself once, a timeout and a callback; each counts."""
    builder: Builder[Any, Status] = Builder("two releases", object_type, Status)

    @builder.step(Status.A)
    async def work(run: Run[Any, Status]) -> Literal[Status.B]:
        count_on(run.object)
        count = run.object["count"] if isinstance(run.object, dict) else run.object.count
        return run.save_and_repeat() if count == 1 else Status.B  # type: ignore[return-value]

    @builder.timeout(Status.B, timedelta(0))
    async def later(run: Run[Any, Status], now: datetime) -> Literal[Status.C]:
        count_on(run.object)
        return Status.C

    @builder.callback(Status.C)
    async def called(run: Run[Any, Status], payload: bytes) -> Literal[Status.D]:
        count_on(run.object)
        return Status.D

    return builder


def new_release(object_type: Any) -> Builder[Any, Status]:
    """Of it only the type is needed."""
    builder: Builder[Any, Status] = Builder("two releases", object_type, Status)
    builder.step(Status.A, to=Status.B)(lambda run: Status.B)
    return builder


@pytest.mark.parametrize("kind", [*KINDS])
async def test_an_older_release_keeps_the_fields_that_a_newer_one_added(backend: Backend, kind: str) -> None:
    old_type, new_type = KINDS[kind]
    new, old = new_release(new_type).build(backend), old_release(old_type).build(backend)
    value = new_type(count=0, added="kept")
    async with old.running():
        run_id = await new.trigger("key", value)
        await old.wait_for("key", Status.C, timeout=PATIENCE)
        await old.callback("key", Status.C)
        assert (await new.get(run_id)).object == new_type(count=4, added="kept")
        versions = await new.history(run_id)
        found = [one.object["added"] if isinstance(one.object, dict) else one.object.added for one in versions]
        assert set(found) == {"kept"}


async def test_what_a_failed_attempt_and_a_stopped_run_hold_is_kept_too(backend: Backend) -> None:
    builder: Builder[Any, Status] = Builder("two releases", OldStruct, Status)

    @builder.step(Status.A)
    async def work(run: Run[OldStruct, Status]) -> Literal[Status.B]:
        run.object.count += 1
        if run.attempt == 1:
            raise RuntimeError("the first attempt fails")
        return run.cancel("as asked")  # type: ignore[return-value]

    new, old = new_release(NewStruct).build(backend), builder.build(backend)
    async with old.running():
        run_id = await new.trigger("key", NewStruct(added="kept"))
        await wait_for(old, "key", lambda run: run.run_state is RunState.CANCELLED, timeout=PATIENCE)
        assert (await new.get(run_id)).object == NewStruct(1, "kept")


async def test_erasing_erases_the_unknown_fields(backend: Backend) -> None:
    new = new_release(NewStruct).build(backend)
    old = old_release(OldStruct).build(backend, custom_delete=lambda value: value)
    async with old.running():
        run_id = await new.trigger("key", NewStruct(added="personal"))
        await old.wait_for("key", Status.C, timeout=PATIENCE)
        await old.callback("key", Status.C)
        await old.delete_data(run_id)
        await wait_for(old, "key", lambda run: run.run_state is RunState.DATA_DELETED, timeout=PATIENCE)
        assert (await new.get(run_id)).object == NewStruct(4, "default")


class Compressed(Codec[Any]):
    def __init__(self, object_type: Any) -> None:
        self._json: JSONCodec[Any] = JSONCodec(object_type)

    def encode(self, value: Any) -> bytes:
        return zlib.compress(self._json.encode(value))

    def decode(self, data: bytes) -> Any:
        return self._json.decode(zlib.decompress(data))

    def keep(self, stored: bytes, data: bytes) -> bytes:
        return zlib.compress(self._json.keep(zlib.decompress(stored), zlib.decompress(data)))


async def test_a_codec_of_the_users_own_can_keep_them(backend: Backend) -> None:
    new = new_release(NewStruct).build(backend, codec=Compressed(NewStruct))
    old = old_release(OldStruct).build(backend, codec=Compressed(OldStruct))
    async with old.running():
        run_id = await new.trigger("key", NewStruct(added="kept"))
        await old.wait_for("key", Status.C, timeout=PATIENCE)
        assert (await new.get(run_id)).object == NewStruct(3, "kept")


class Strict(pydantic.BaseModel, extra="forbid"):
    count: int = 0


def test_a_type_that_refuses_unknown_fields_is_named_when_it_is_built(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        old_release(OldModel).build(backend)
        assert not caplog.records
        old_release(Strict).build(backend)
    assert "Strict refuses unknown fields" in caplog.text
