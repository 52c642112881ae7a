"""Objects and payloads as JSON: every supported kind of type, and clear words for the others."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Optional, TypedDict, TypeVar, Union

import attrs
import msgspec
import pydantic
import pytest
from pydantic.dataclasses import dataclass as pydantic_dataclass

from workflow._declare.codec import JSONCodec, describe, payload_decoder, zero_value


class Line(msgspec.Struct):
    sku: str = ""
    count: int = 0


class Cart(msgspec.Struct):
    lines: list[Line] = []
    note: str | None = None


@dataclass
class Guide:
    read: bool = False
    tags: set[str] = field(default_factory=set)


@attrs.define
class Box:
    weight: float = 0.0


class Open(TypedDict, total=False):
    name: str


class Total(TypedDict):
    name: str
    age: int


class Model(pydantic.BaseModel):
    count: int = 0
    day: date = date(2026, 1, 1)


class Needs(pydantic.BaseModel):
    a: int
    b: int


@pydantic_dataclass
class Checked:
    count: int = 0


@dataclass
class Holder:
    model: Model = field(default_factory=Model)


class NoFields:
    def __init__(self) -> None:
        self.hidden = 1


U = TypeVar("U")


@dataclass
class Wrapper(Generic[U]):
    inner: U


@pytest.mark.parametrize(
    ("object_type", "value", "data"),
    [
        (Cart, Cart([Line("a", 2)], "x"), b'{"lines":[{"sku":"a","count":2}],"note":"x"}'),
        (Guide, Guide(True, {"t"}), b'{"read":true,"tags":["t"]}'),
        (Box, Box(1.5), b'{"weight":1.5}'),
        (Open, {"name": "n"}, b'{"name":"n"}'),
        (Total, {"name": "n", "age": 3}, b'{"name":"n","age":3}'),
        (Model, Model(count=2), b'{"count":2,"day":"2026-01-01"}'),
        (Checked, Checked(4), b'{"count":4}'),
        (Holder, Holder(Model(count=3)), b'{"model":{"count":3,"day":"2026-01-01"}}'),
        (list[Model], [Model(count=1)], b'[{"count":1,"day":"2026-01-01"}]'),
        (Wrapper[int], Wrapper(3), b'{"inner":3}'),
        (int, 5, b"5"),
        (float, 2, b"2"),
        (str, "é", '"é"'.encode()),
        (bool, True, b"true"),
        (bytes, b"\x00\xff", b'"AP8="'),
        (dict, {"a": [1, None]}, b'{"a":[1,null]}'),
        (dict[str, int], {"a": 1}, b'{"a":1}'),
        (list[int], [1, 2], b"[1,2]"),
        (datetime, datetime(2026, 1, 2, tzinfo=UTC), b'"2026-01-02T00:00:00Z"'),
        (Decimal, Decimal("1.10"), b'"1.10"'),
        (Annotated[int, msgspec.Meta(ge=0)], 5, b"5"),
    ],
)
def test_values_survive_a_round_trip(object_type: type[Any], value: object, data: bytes) -> None:
    """R-MODEL-5."""
    codec = JSONCodec(object_type)
    assert codec.encode(value) == data
    assert codec.decode(data) == value


def a_function(x: int) -> int:
    return x


@pytest.mark.parametrize(
    "unsupported",
    [
        int | str,
        Union[Cart, Guide],  # noqa: UP007 - the old spelling must be refused as well
        Optional[Cart],  # noqa: UP045
        a_function,
        Callable[[int], int],
        Any,
        object,
        NoFields,
        complex,
        None,
        "Cart",
        U,
        5,
    ],
)
def test_an_object_type_that_is_not_one_class_with_fields_is_refused_by_name(unsupported: Any) -> None:
    with pytest.raises(TypeError, match="object type"):
        JSONCodec(unsupported)


@pytest.mark.parametrize(
    ("object_type", "wrong"), [(Cart, Guide()), (Guide, None), (Box, {}), (Model, Needs(a=1, b=2))]
)
def test_an_object_of_another_class_is_refused_when_it_is_written(object_type: type[Any], wrong: object) -> None:
    with pytest.raises(TypeError, match=f"expected an object of type {object_type.__name__}"):
        JSONCodec(object_type).encode(wrong)


def test_an_error_without_a_text_is_described_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise SystemExit

    assert describe(Mute()) == "Mute: (its text cannot be had)"


def test_a_field_that_json_cannot_carry_is_refused_when_it_is_written() -> None:
    with pytest.raises(TypeError, match="NoFields"):
        JSONCodec(Holder).encode(Holder(NoFields()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("object_type", "zero"),
    [
        (Cart, Cart()),
        (Guide, Guide()),
        (Box, Box()),
        (Open, {}),
        (Model, Model()),
        (int, 0),
        (str, ""),
        (list[int], []),
    ],
)
def test_the_zero_value_is_the_type_called_without_arguments(object_type: type[Any], zero: object) -> None:
    assert zero_value(object_type) == zero


@pytest.mark.parametrize(
    ("object_type", "why"),
    [
        (Total, "Total has no zero value: its keys age, name are required"),
        (Needs, r"Needs\(\) has no zero value: a: Field required; b: Field required"),
        (Wrapper, r"Wrapper\(\) has no zero value: TypeError.*inner"),
        (datetime, r"datetime\(\) has no zero value"),
    ],
)
def test_a_type_without_zero_value_is_named(object_type: type[Any], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        zero_value(object_type)


@pytest.mark.parametrize(
    ("annotation", "data", "value"),
    [
        (bytes, b"\xff{", b"\xff{"),
        (str, b'"yes"', "yes"),
        (Line, b'{"sku":"a"}', Line("a")),
        (Model, b'{"count":"7"}', Model(count=7)),
        (Model | None, b"null", None),
        (Model | Needs, b'{"a":1,"b":2}', Needs(a=1, b=2)),
        (int | None, b"null", None),
        (list[Line], b"[{}]", [Line()]),
        (Any, b'{"a":1}', {"a": 1}),
    ],
)
def test_payloads_are_decoded_by_annotation(annotation: Any, data: bytes, value: object) -> None:
    assert payload_decoder(annotation)(data) == value


@pytest.mark.parametrize(
    ("annotation", "data", "text"),
    [
        (Cart, b'{"lines":[{"count":"many"}]}', "lines[0].count: Expected `int`, got `str`"),
        (Line, b"[]", "Expected `object`, got `array`"),
        (Line, b"", "not valid JSON: Input data was truncated"),
        (Line, b'{"sku', "not valid JSON: Input data was truncated"),
        (
            Needs,
            b'{"a":"secret"}',
            "a: Input should be a valid integer, unable to parse string as an integer; b: Field required",
        ),
    ],
)
def test_an_invalid_payload_is_described_by_path_and_reason(annotation: Any, data: bytes, text: str) -> None:
    with pytest.raises((msgspec.MsgspecError, ValueError)) as caught:
        payload_decoder(annotation)(data)
    assert describe(caught.value) == text


def test_any_other_error_is_described_by_its_class() -> None:
    assert describe(KeyError("x")) == "KeyError: 'x'"


def test_bytes_that_are_no_utf8_are_a_decode_error() -> None:
    with pytest.raises((msgspec.MsgspecError, ValueError)) as caught:
        JSONCodec(str).decode(b'"\xff"')
    assert describe(caught.value)


def test_pydantic_is_never_imported_for_other_types() -> None:
    program = (
        "import sys\nfrom workflow._declare.codec import JSONCodec, describe\n"
        "JSONCodec(dict).decode(b'{}'); describe(ValueError('x'))\nassert 'pydantic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
