"""Destinations read from return annotations, payload types from the second parameter."""

from collections.abc import Awaitable, Callable, Coroutine
from enum import IntEnum
from functools import partial, wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal, Never, TypeAlias, Union

import msgspec
import pytest
from typing_extensions import TypeAliasType

from workflow._declare.annotations import payload_annotation, return_destinations
from workflow._model.decision import Decision

if TYPE_CHECKING:
    from somewhere import NotThere  # type: ignore[import-not-found]


class Status(IntEnum):
    A = 1
    B = 2
    C = 3


class Other(IntEnum):
    A = 1
    Z = 9


class Payload(msgspec.Struct):
    amount: int


ToB: TypeAlias = Literal[Status.B]
BorC: TypeAlias = Literal[Status.B, Status.C] | Decision
Named = TypeAliasType("Named", Literal[Status.C] | Decision)
Inner = TypeAliasType("Inner", ToB | Named)


async def plain(run: object) -> Literal[Status.B]: ...  # type: ignore[empty-body]
async def two(run: object) -> Literal[Status.C, Status.B] | Decision: ...  # type: ignore[empty-body]
def text(run: "NotThere") -> "Literal[Status.B] | Decision": ...  # type: ignore[empty-body]
def partly_text(run: object) -> Union["Decision", Literal[Status.B]]: ...  # type: ignore[empty-body]
def alias(run: object) -> BorC: ...  # type: ignore[empty-body]
def new_alias(run: object) -> Named: ...  # type: ignore[empty-body]
def nested_alias(run: object) -> Inner: ...  # type: ignore[empty-body]
def joined(run: object) -> Literal[Status.C, Status.B] | ToB: ...  # type: ignore[empty-body]
def annotated(run: object) -> Annotated[Literal[Status.B], "why"]: ...  # type: ignore[empty-body]
def awaitable(run: object) -> Awaitable[Literal[Status.B] | Decision]: ...  # type: ignore[empty-body]
def coroutine(run: object) -> Coroutine[Any, Any, Literal[Status.C]]: ...  # type: ignore[empty-body]
def decision(run: object) -> Decision: ...  # type: ignore[empty-body]
def never(run: object) -> Never:
    raise NotImplementedError


def missing(run):  # type: ignore[no-untyped-def]
    ...


def whole_enum(run: object) -> Status: ...  # type: ignore[empty-body]
def enum_or_decision(run: object) -> Status | Decision: ...  # type: ignore[empty-body]
def optional(run: object) -> Literal[Status.B] | None: ...
def unreadable(run: object) -> "NotThere": ...
def broken(run: object) -> "1 +": ...  # type: ignore[valid-type]  # noqa: F722
def nothing(run: object) -> None: ...


@pytest.mark.parametrize(
    ("fn", "destinations"),
    [
        (plain, (Status.B,)),
        (two, (Status.B, Status.C)),
        (text, (Status.B,)),
        (partly_text, (Status.B,)),
        (alias, (Status.B, Status.C)),
        (new_alias, (Status.C,)),
        (nested_alias, (Status.B, Status.C)),
        (joined, (Status.B, Status.C)),
        (annotated, (Status.B,)),
        (awaitable, (Status.B,)),
        (coroutine, (Status.C,)),
        (decision, ()),
        (never, ()),
        (missing, None),
        (whole_enum, None),
        (enum_or_decision, None),
        (optional, None),
        (unreadable, None),
        (broken, None),
        (nothing, None),
        (print, None),
        (dict, None),
    ],
)
def test_destinations_are_read_from_the_return_annotation(fn: Callable[..., Any], destinations: object) -> None:
    assert return_destinations(fn, Status) == destinations


class Handlers:
    async def method(self, run: object) -> Literal[Status.B]: ...  # type: ignore[empty-body]

    @classmethod
    async def of_class(cls, run: object) -> Literal[Status.C]: ...  # type: ignore[empty-body]

    @staticmethod
    def static(run: object) -> "Literal[Status.C]": ...  # type: ignore[empty-body]

    async def __call__(self, run: object) -> "Literal[Status.B, Status.C]": ...  # type: ignore[empty-body]


def logged(fn: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(fn)
    def inner(*args: object, **kwargs: object) -> object:
        return fn(*args, **kwargs)

    return inner


@pytest.mark.parametrize(
    ("fn", "destinations"),
    [
        (logged(text), (Status.B,)),
        (logged(logged(two)), (Status.B, Status.C)),
        (partial(text, run=None), (Status.B,)),
        (partial(logged(text)), (Status.B,)),
        (logged(partial(text)), (Status.B,)),
        (Handlers().method, (Status.B,)),
        (logged(Handlers().method), (Status.B,)),
        (Handlers.of_class, (Status.C,)),
        (Handlers.static, (Status.C,)),
        (Handlers(), (Status.B, Status.C)),
        (partial(Handlers()), (Status.B, Status.C)),
    ],
)
def test_what_is_put_around_a_handler_is_read_through(fn: Callable[..., Any], destinations: object) -> None:
    assert return_destinations(fn, Status) == destinations


def test_names_come_from_the_closure_and_then_from_the_builder() -> None:
    class Local(IntEnum):
        X = 1
        Y = 2

    class Cart(msgspec.Struct):
        pass

    def unclosed(run: object) -> "Literal[Local.Y] | Decision": ...  # type: ignore[empty-body]

    def closed(run: object) -> "Literal[Local.X]":  # type: ignore[return]
        print(Local)

    def payload(run: object, payload: "Cart") -> None: ...

    assert return_destinations(unclosed, Local) == (Local.Y,)
    assert return_destinations(closed, Local) == (Local.X,)
    assert payload_annotation(payload, Local, Cart) is Cart


def test_a_variable_of_the_enclosing_function_without_a_value_yet_does_no_harm() -> None:
    def handler(run: object) -> "Literal[Status.B]":
        return later

    assert return_destinations(handler, Status) == (Status.B,)
    later: Literal[Status.B] = Status.B


def another_enum(run: object) -> Literal[Status.B, Other.Z]: ...  # type: ignore[empty-body]
def equal_value(run: object) -> Literal[Other.A]: ...  # type: ignore[empty-body]
def number(run: object) -> Literal[1]: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("fn", "why"),
    [
        (another_enum, "<Other.Z: 9> in the return annotation is a member of Other, not a member of Status"),
        (equal_value, "<Other.A: 1> in the return annotation is a member of Other, not a member of Status"),
        (number, "1 in the return annotation is int, not a member of Status"),
    ],
)
def test_a_literal_that_is_no_status_of_the_workflow_is_named(fn: Callable[..., Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        return_destinations(fn, Status)


def test_statuses_of_equal_value_in_alike_annotations_are_not_confused() -> None:
    def one(run: object) -> "Literal[Status.A] | Decision": ...  # type: ignore[empty-body]
    def other(run: object) -> "Literal[Other.A] | Decision": ...  # type: ignore[empty-body]

    read = (*(return_destinations(one, Status) or ()), *(return_destinations(other, Other) or ()))
    assert [type(status) for status in read] == [Status, Other]


def takes_bytes(run: object, payload: bytes) -> None: ...
def takes_text(run: "NotThere", payload: "Payload") -> None: ...
def takes_model(run: "NotThere", anything: Payload, /) -> None: ...
def takes_annotated(run: object, n: Annotated[int, msgspec.Meta(ge=0)]) -> None: ...
def takes_bare(run, payload):  # type: ignore[no-untyped-def]
    ...


def takes_rest(*args: int) -> None: ...
def takes_run_and_rest(run: object, *rest: str) -> None: ...


class Callbacks:
    def method(self, run: object, payload: "Payload | None") -> None: ...

    def __call__(self, run: object, payload: str) -> None: ...


@pytest.mark.parametrize(
    ("fn", "annotation"),
    [
        (takes_bytes, bytes),
        (takes_text, Payload),
        (takes_model, Payload),
        (takes_annotated, Annotated[int, msgspec.Meta(ge=0)]),
        (takes_bare, bytes),
        (takes_rest, int),
        (takes_run_and_rest, str),
        (logged(takes_text), Payload),
        (Callbacks().method, Payload | None),
        (Callbacks(), str),
        (partial(Callbacks.method, Callbacks()), Payload | None),
    ],
)
def test_the_payload_type_is_the_annotation_of_the_second_parameter(fn: Callable[..., Any], annotation: object) -> None:
    assert payload_annotation(fn) == annotation


def takes_one(run: object) -> None: ...
def takes_keyword(run: object, *, payload: bytes) -> None: ...
def takes_unknown(run: object, payload: "NotThere") -> None: ...


@pytest.mark.parametrize(
    ("fn", "why"),
    [
        (takes_one, "takes_one takes no second positional parameter"),
        (takes_keyword, "takes_keyword takes no second positional parameter"),
        (takes_unknown, "'NotThere' of takes_unknown cannot be evaluated: name 'NotThere' is not defined"),
    ],
)
def test_a_payload_that_cannot_be_read_is_named(fn: Callable[..., Any], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        payload_annotation(fn)
