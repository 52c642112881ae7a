"""A definition as others see it; its fingerprint changes with the definition and with nothing else."""

import json
from collections.abc import Callable
from datetime import timedelta
from enum import IntEnum
from typing import Any

import pydantic
import pytest

from tests.unit.engines import Status, Thing, declared
from workflow import Builder, Options, RunState
from workflow._declare.info import workflow_info
from workflow.options import DEFAULTS
from workflow.protocols import StatusInfo, WorkflowInfo
from workflow_adapters.memory import MemoryBackend, MemoryConnector


def info(builder: Builder[Any, Any], *, release: str = "", parallel_count: int = 1, **arguments: Any) -> WorkflowInfo:
    definition = builder.build(MemoryBackend(), **arguments)._engine.definition
    return workflow_info(definition, Options(parallel_count=parallel_count).over(DEFAULTS), release=release)


def changed(change: Callable[[Builder[Any, Any]], object]) -> Builder[Thing, Status]:
    builder = declared()
    change(builder)
    return builder


def test_every_status_is_described() -> None:
    builder = changed(lambda b: b.timeout(Status.B, timedelta(hours=1), to=Status.C)(lambda run, now: Status.C))
    found = info(builder)
    assert found.statuses == (
        StatusInfo(number=1, name="A", text="A", step=True),
        StatusInfo(number=2, name="B", text="B", callbacks=1, timers=1),
        StatusInfo(number=3, name="C", text="C", terminal=True),
    )
    assert (found.edges, found.starting_points) == (((1, 2), (2, 3)), (1,))


def test_names_of_connectors_hooks_and_schedules_are_told() -> None:
    builder = declared()
    builder.connector("feed", MemoryConnector())(lambda wf, event: None)
    builder.on_cancel(lambda run: None)
    builder.schedule("nightly", "@daily", timezone="Europe/London")
    found = info(builder)
    assert (found.connectors, found.hooks) == (("feed",), (str(RunState.CANCELLED),))
    assert [(one.foreign_id, one.spec, one.timezone) for one in found.schedules] == [
        ("nightly", "@daily", "Europe/London")
    ]


def test_the_shards_of_a_step_are_its_own_or_the_default() -> None:
    builder = declared()
    builder.step(Status.B, to=Status.C, options=Options(parallel_count=5))(lambda run: Status.C)
    counts = [status.parallel_count for status in info(builder, parallel_count=3).statuses]
    assert counts == [3, 5, 1]


def test_equal_definitions_have_equal_fingerprints_whatever_the_release() -> None:
    one, two = info(declared(), release="1"), info(declared(), release="2")
    assert one.fingerprint == two.fingerprint
    assert (one.release, two.release) == ("1", "2")
    assert len(one.fingerprint) == 16


class MoreStatuses(IntEnum):
    A = 1
    B = 2
    C = 3
    D = 4


def with_another_enum() -> Builder[Any, Any]:
    builder = Builder("unit", Thing, MoreStatuses)
    builder.step(MoreStatuses.A, to=MoreStatuses.B)(lambda run: MoreStatuses.B)
    builder.callback(MoreStatuses.B, to=MoreStatuses.C)(lambda run, payload: MoreStatuses.C)
    return builder


def with_another_object() -> Builder[Any, Any]:
    builder = Builder("unit", dict[str, int], Status)
    builder.step(Status.A, to=Status.B)(lambda run: Status.B)
    builder.callback(Status.B, to=Status.C)(lambda run, payload: Status.C)
    return builder


CHANGES: dict[str, Callable[[], WorkflowInfo]] = {
    "name": lambda: info(declared("another")),
    "status": lambda: info(with_another_enum()),
    "object": lambda: info(with_another_object()),
    "edge": lambda: info(
        changed(lambda b: b.callback(Status.B, to=Status.A)(lambda run, p: Status.A)), starting_point=Status.A
    ),
    "timer": lambda: info(changed(lambda b: b.timeout(Status.B, timedelta(1), to=Status.C)(lambda run, now: Status.C))),
    "connector": lambda: info(changed(lambda b: b.connector("feed", MemoryConnector())(lambda wf, event: None))),
    "hook": lambda: info(changed(lambda b: b.on_pause(lambda run: None))),
    "schedule": lambda: info(changed(lambda b: b.schedule("key", "@daily"))),
    "starting point": lambda: info(declared(), starting_point=[Status.B, Status.A]),
    "shards": lambda: info(declared(), parallel_count=2),
}


def test_every_change_of_a_definition_changes_its_fingerprint() -> None:
    fingerprints = {"none": info(declared()).fingerprint} | {name: make().fingerprint for name, make in CHANGES.items()}
    assert len(set(fingerprints.values())) == len(fingerprints), fingerprints


class Model(pydantic.BaseModel):
    amount: int


@pytest.mark.parametrize(
    ("object_type", "properties"), [(Thing, {"count", "text"}), (Model, {"amount"})], ids=["struct", "pydantic"]
)
def test_the_schema_of_the_object_is_told(object_type: Any, properties: set[str]) -> None:
    builder: Builder[Any, Status] = Builder("schema", object_type, Status)
    builder.step(Status.A, to=Status.B)(lambda run: Status.B)
    schema = json.loads(info(builder).object_schema)
    schema = schema["$defs"]["Thing"] if "$defs" in schema else schema
    assert schema["properties"].keys() == properties


class Opaque:
    """Of a codec of the user's."""


class OpaqueCodec:
    def encode(self, value: Opaque) -> bytes:
        return b""

    def decode(self, data: bytes) -> Opaque:
        return Opaque()


def test_an_object_without_a_schema_has_none() -> None:
    builder = Builder("opaque", Opaque, Status)
    builder.step(Status.A, to=Status.B)(lambda run: Status.B)
    assert info(builder, codec=OpaqueCodec()).object_schema == b""
