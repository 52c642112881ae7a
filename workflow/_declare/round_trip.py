"""Whether an object comes back from its bytes as it was, and if not, which field does not.

A store keeps bytes, and every handler gets a new object made of them. An object that changes on the way would change
without a word: NaN becomes null, a set in a plain dict a list, a secret a row of stars, a field that is left out its
default. So it is refused where it is made.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

_SHOWN = 60
"""Characters of a value that a message repeats."""


def difference(before: Any, after: Any) -> str | None:
    """Where and how `after` differs from `before`, as `field: reason`; None if they are the same.

    Equal objects are the same. Classes without an `__eq__` of their own are compared field by field.
    """
    if _equal(before, after):
        return None
    return _difference("", before, after)


def _equal(before: Any, after: Any) -> bool:
    try:
        return bool(before == after)
    except BaseException:  # noqa: BLE001 - an __eq__ of the user's may raise anything, and arrays have no truth value
        return False


def _difference(path: str, before: Any, after: Any) -> str | None:
    if type(before) is not type(after):
        return _told(path, before, after)
    inside = _parts(before)
    if inside is None:
        return None if _equal(before, after) else _told(path, before, after)
    there = dict(_parts(after) or ())
    for name, value in inside:
        if name not in there:
            return f"{f'{path}{name}'.lstrip('.')}: {_shown(value)} would not come back"
        other = there.pop(name)
        if not _equal(value, other) and (found := _difference(f"{path}{name}", value, other)) is not None:
            return found
    for name, value in there.items():
        return f"{f'{path}{name}'.lstrip('.')}: {_shown(value)} would appear"
    return None


def _parts(value: Any) -> Iterable[tuple[str, Any]] | None:
    """The fields, keys or elements of a value, with the way to write them; None if it is one thing.

    An object of another kind with an `__eq__` of its own (a secret, a number) is one thing: its insides are its own.
    """
    kind = type(value)
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", item) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    if hasattr(kind, "__struct_fields__"):
        return _attributes(value, kind.__struct_fields__)
    if dataclasses.is_dataclass(value):
        return _attributes(value, [field.name for field in dataclasses.fields(value)])
    if hasattr(kind, "__attrs_attrs__"):
        return _attributes(value, [field.name for field in kind.__attrs_attrs__])
    if hasattr(kind, "__pydantic_fields__"):
        parts = {**vars(value), **(value.__pydantic_extra__ or {}), **(value.__pydantic_private__ or {})}
        return [(f".{name}", item) for name, item in parts.items()]
    own: object = kind.__eq__
    if own is object.__eq__ and hasattr(value, "__dict__"):
        return [(f".{name}", item) for name, item in vars(value).items()]
    return None


def _attributes(value: Any, names: Iterable[str]) -> list[tuple[str, Any]]:
    return [(f".{name}", getattr(value, name, None)) for name in names]


def _told(path: str, before: Any, after: Any) -> str:
    where = f"{path.lstrip('.')}: " if path else ""
    if type(before) is type(after):
        return f"{where}{_shown(before)} would come back as {_shown(after)}"
    names = type(before).__name__, type(after).__name__
    return f"{where}{_shown(before)} ({names[0]}) would come back as {_shown(after)} ({names[1]})"


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except BaseException:  # noqa: BLE001 - a __repr__ of the user's must not hide the field
        return f"a {type(value).__name__}"
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
