"""Fields that only another release knows stay with the object; what a handler changed counts."""

from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from pydantic.dataclasses import dataclass as pydantic_dataclass

from workflow._declare.codec import JSONCodec
from workflow._declare.refusing import refusing


class Line(msgspec.Struct):
    sku: str = ""


class Struct(msgspec.Struct):
    count: int = 0
    line: Line = msgspec.field(default_factory=Line)


@dataclass
class Data:
    count: int = 0
    line: Line = field(default_factory=Line)


@attrs.define
class Attrs:
    count: int = 0
    line: Line = attrs.Factory(Line)


class ModelLine(pydantic.BaseModel):
    sku: str = ""


class Model(pydantic.BaseModel):
    count: int = 0
    line: ModelLine = ModelLine()


@pydantic_dataclass
class PydanticData:
    count: int = 0
    line: ModelLine = field(default_factory=ModelLine)


class Open(pydantic.BaseModel, extra="allow"):
    count: int = 0


class Keys(TypedDict, total=False):
    count: int
    line: Line


def step(object_type: Any, stored: bytes, change: Any) -> Any:
    """The stored JSON after a step of a release with this type."""
    codec: JSONCodec[Any] = JSONCodec(object_type)
    value = codec.decode(stored)
    value = change(value) or value
    kept = codec.keep(stored, codec.encode(value))
    assert codec.decode(kept) == value, "a kept field may not change what is read"
    return msgspec.json.decode(kept)


def count_on(value: Any) -> None:
    if isinstance(value, dict):
        value["count"] = 2
    else:
        value.count = 2


@pytest.mark.parametrize("object_type", [Struct, Data, Attrs, Model, PydanticData, Open, Keys, dict])
def test_every_kind_of_object_keeps_them(object_type: Any) -> None:
    stored = b'{"count":1,"added":{"deep":[1,2.50]},"line":{"sku":"x","price":9}}'
    after = step(object_type, stored, count_on)
    assert after == {"count": 2, "added": {"deep": [1, 2.5]}, "line": {"sku": "x", "price": 9}}


def test_a_value_is_copied_as_it_was_written() -> None:
    codec = JSONCodec(Struct)
    kept = codec.keep(b'{"big":123456789012345678901234567890,"exact":1.50}', codec.encode(Struct(5)))
    assert kept.endswith(b'"big":123456789012345678901234567890,"exact":1.50}')


def test_without_unknown_fields_the_bytes_are_those_of_the_encoder() -> None:
    codec = JSONCodec(Struct)
    data = codec.encode(Struct(2))
    assert codec.keep(codec.encode(Struct(1)), data) is data
    assert codec.keep(b'{ "count" : 1 }', data) is data


def test_an_object_that_is_replaced_keeps_them() -> None:
    assert step(Struct, b'{"count":1,"added":5}', lambda _: Struct(7)) == {"count": 7, "line": {"sku": ""}, "added": 5}


def test_a_key_that_a_handler_removed_stays_removed() -> None:
    def remove(value: dict[str, Line]) -> None:
        del value["gone"]

    after = step(dict[str, Line], b'{"gone":{"sku":"a","price":1},"kept":{"sku":"b","price":2}}', remove)
    assert after == {"kept": {"sku": "b", "price": 2}}


STORED = b'[{"sku":"a","price":1},{"sku":"b","price":2},{"sku":"c","price":3}]'


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda v: [*v, Line("d")], [("a", 1), ("b", 2), ("c", 3), ("d", None)]),
        (lambda v: [Line("d"), *v], [("d", None), ("a", 1), ("b", 2), ("c", 3)]),
        (lambda v: v[1:], [("b", 2), ("c", 3)]),
        (lambda v: v[::-1], [("c", 3), ("b", 2), ("a", 1)]),
        (lambda v: [v[0], Line("changed"), v[2]], [("a", 1), ("changed", 2), ("c", 3)]),
        (lambda v: [Line("who knows"), v[2]], [("who knows", None), ("c", 3)]),
    ],
    ids=["append", "insert", "remove", "turn round", "change one", "change and remove"],
)
def test_elements_of_lists_keep_theirs_where_they_are_known_again(change: Any, wanted: Any) -> None:
    after = step(list[Line], STORED, change)
    assert [(line["sku"], line.get("price")) for line in after] == wanted


def test_equal_elements_are_told_apart_by_their_place() -> None:
    stored = b'[{"sku":"a","price":1},{"sku":"a","price":2}]'
    assert step(list[Line], stored, lambda v: [*v, Line("b")])[:2] == msgspec.json.decode(stored)


class Frozen(msgspec.Struct, frozen=True):
    sku: str = ""


def test_elements_of_a_set_are_not_confused() -> None:
    stored = b'[{"sku":"a","price":1},{"sku":"b","price":2}]'
    for _ in range(2):
        after = step(set[Frozen], stored, lambda v: v)
        assert all(one.get("price") in (None, {"a": 1, "b": 2}[one["sku"]]) for one in after)
        stored = msgspec.json.encode(list(reversed(msgspec.json.decode(stored))))


class Array(msgspec.Struct, array_like=True):
    count: int = 0


def test_an_array_like_struct_keeps_its_tail() -> None:
    assert step(Array, b'[1,"added"]', count_on) == [2, "added"]


class Renamed(pydantic.BaseModel):
    count: Annotated[int, pydantic.Field(validation_alias=pydantic.AliasChoices("old", "count"))] = 0


def test_an_old_name_that_is_still_read_does_not_hide_the_new_value() -> None:
    assert step(Renamed, b'{"old":1,"added":5}', count_on) == {"count": 2, "added": 5}


class Sparse(msgspec.Struct, omit_defaults=True):
    count: int = 0


def test_a_default_that_is_not_written_is_no_unknown_field() -> None:
    assert step(Sparse, b'{"count":0}', count_on) == {"count": 2}


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    count: int = 0


class StrictModel(pydantic.BaseModel, extra="forbid"):
    children: "list[StrictModel]" = []


class Pair(NamedTuple):
    one: int
    strict: Strict


class Tree(msgspec.Struct):
    model: StrictModel
    children: "list[Tree]" = []
    pair: Pair | None = None


class Union(pydantic.BaseModel):
    either: Model | StrictModel | int = 0


@pytest.mark.parametrize(
    ("object_type", "names"),
    [
        *((one, []) for one in (Struct, Data, Attrs, Model, PydanticData, Open, Keys, dict, int, Array)),
        (Strict, ["Strict"]),
        (StrictModel, ["StrictModel"]),
        (list[StrictModel], ["StrictModel"]),
        (Union, ["StrictModel"]),
        (Tree, ["StrictModel", "Pair", "Strict"]),
    ],
)
def test_classes_that_refuse_unknown_fields_are_named(object_type: Any, names: list[str]) -> None:
    assert refusing(object_type) == names
