"""Destinations and payload types, read from the annotations of handlers.

Only the one annotation that is needed is evaluated: the others may hold names that exist for type checkers alone, and
evaluating them all would fail handlers that are perfectly well declared.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from enum import Enum, IntEnum
from types import CellType, FunctionType, SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, Never, NoReturn, Union, get_args, get_origin, get_type_hints

from .._model.decision import Decision

_MISSING = inspect.Parameter.empty
_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)


class _Unreadable(Exception):
    """An annotation does not say which statuses it means."""


def return_destinations(
    fn: Callable[..., Any], status_type: type[IntEnum], object_type: Any = None
) -> tuple[IntEnum, ...] | None:
    """The statuses that a handler's return annotation names, each once, ascending.

    None if there is no annotation, or none that names statuses (`-> Status` does not); empty if it promises a
    Decision and nothing else. A wrapped handler, a partial, a method or a callable object is read through.

    Raises:
        ValueError: a Literal in it holds something else than members of `status_type`.
    """
    signature = _signature(fn)
    if signature is None or signature.return_annotation is _MISSING:
        return None
    try:
        annotation = _evaluate(fn, signature.return_annotation, _fallback(status_type, object_type))
        found = _statuses(annotation, status_type)
    except _Unreadable:
        return None
    # typing caches unions whose members differ in order only, so the order written down may not be the one read.
    return tuple(sorted(set(found)))


def payload_annotation(fn: Callable[..., Any], status_type: Any = None, object_type: Any = None) -> Any:
    """The annotation of a callback's second positional parameter; `bytes` if it has none.

    Raises:
        TypeError: there is no such parameter, or its annotation cannot be evaluated.
    """
    signature = _signature(fn)
    if signature is None:
        return bytes
    positional = [p for p in signature.parameters.values() if p.kind in _POSITIONAL]
    if positional and positional[-1].kind is inspect.Parameter.VAR_POSITIONAL:
        positional.append(positional[-1])
    if len(positional) < 2:
        raise TypeError(f"{_name(fn)} takes no second positional parameter for the payload")
    annotation = positional[1].annotation
    if annotation is _MISSING:
        return bytes
    try:
        return _evaluate(fn, annotation, _fallback(status_type, object_type))
    except _Unreadable as error:
        raise TypeError(f"{annotation!r} of {_name(fn)} cannot be evaluated: {error.__cause__}") from error


def _signature(fn: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(fn)
    except (ValueError, TypeError):  # some builtins have none
        return None


def _evaluate(fn: Callable[..., Any], annotation: Any, fallback: Mapping[str, Any]) -> Any:
    function = _function(fn)
    scope = {**fallback, **(function.__globals__ if function else {})}
    holder = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return get_type_hints(holder, scope, _closure(function), include_extras=True)["it"]
    except Exception as error:
        raise _Unreadable(annotation) from error


def _fallback(*types: Any) -> dict[str, Any]:
    # Linters move imports that serve annotations only under TYPE_CHECKING; these names can mean nothing else here.
    names: dict[str, Any] = {"Decision": Decision, "Literal": Literal}
    return names | {found.__name__: found for found in types if isinstance(found, type)}


def _function(fn: Any) -> FunctionType | None:
    """The user's own function, without decorators, partials and methods around it."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif inspect.ismethod(fn):
            fn = fn.__func__
        elif hasattr(fn, "__wrapped__"):
            fn = fn.__wrapped__
        elif isinstance(fn, FunctionType):
            return fn
        elif inspect.isfunction(call := inspect.getattr_static(type(fn), "__call__", None)):
            fn = call
        else:
            return None


def _closure(function: FunctionType | None) -> dict[str, Any]:
    if function is None:
        return {}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if _filled(cell)}


def _filled(cell: CellType) -> bool:
    """False for a variable of the enclosing function that has no value yet."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _statuses(annotation: Any, status_type: type[IntEnum]) -> tuple[IntEnum, ...]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Decision or annotation in (Never, NoReturn):
        return ()
    if origin is Literal:
        return tuple(_status(member, status_type) for member in arguments)
    if origin in (Union, UnionType):
        return tuple(status for part in arguments for status in _statuses(part, status_type))
    if origin is Annotated:
        return _statuses(arguments[0], status_type)
    if origin in (Awaitable, Coroutine):
        return _statuses(arguments[-1], status_type)
    alias = annotation if origin is None else origin
    if hasattr(alias, "__value__"):  # `type X = …` of Python 3.12
        return _statuses(alias.__value__, status_type)
    raise _Unreadable(annotation)


def _status(member: Any, status_type: type[IntEnum]) -> IntEnum:
    # IntEnums of equal value are equal, so only the type tells a status from a stranger.
    if type(member) is status_type:
        return member
    other = f"a member of {type(member).__name__}" if isinstance(member, Enum) else type(member).__name__
    raise ValueError(f"{member!r} in the return annotation is {other}, not a member of {status_type.__name__}")


def _name(fn: Any) -> str:
    return getattr(fn, "__qualname__", None) or repr(fn)
