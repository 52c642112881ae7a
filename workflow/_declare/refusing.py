"""Which classes of an object type refuse fields that they do not know.

A release with such a class cannot read an object to which the next release added a field, and would pause the run. So
it is said when the workflow is built.
"""

from collections.abc import Iterator
from typing import Any, get_args

import msgspec


def refusing(object_type: Any) -> list[str]:
    """The names of those classes, nested ones included."""
    return list(dict.fromkeys(_of_annotation(object_type, set())))


def _of_annotation(annotation: Any, seen: set[Any]) -> Iterator[str]:
    if hasattr(annotation, "__pydantic_validator__"):
        yield from _of_pydantic(annotation, seen)
        return
    try:
        found = msgspec.inspect.type_info(annotation)
    except (TypeError, NotImplementedError):  # a union of models
        for part in get_args(annotation):
            yield from _of_annotation(part, seen)
    else:
        yield from _of_type(found, seen)


def _of_pydantic(model: Any, seen: set[Any]) -> Iterator[str]:
    """A model, or a dataclass of pydantic's."""
    if model in seen:
        return
    seen.add(model)
    config = getattr(model, "model_config", None) or getattr(model, "__pydantic_config__", None) or {}
    if config.get("extra") == "forbid":
        yield model.__name__
    for field in model.__pydantic_fields__.values():
        yield from _of_annotation(field.annotation, seen)


def _of_type(found: Any, seen: set[Any]) -> Iterator[str]:
    """A type as msgspec describes it, and what is within it."""
    if isinstance(found, msgspec.inspect.CustomType):
        if hasattr(found.cls, "__pydantic_validator__"):
            yield from _of_pydantic(found.cls, seen)
        return
    if isinstance(found, tuple):
        for part in found:
            yield from _of_type(part, seen)
        return
    if not isinstance(found, msgspec.inspect.Type | msgspec.inspect.Field):
        return
    owner = getattr(found, "cls", None)
    if owner in seen:
        return
    if owner is not None:
        seen.add(owner)
        if isinstance(found, msgspec.inspect.NamedTupleType) or getattr(found, "forbid_unknown_fields", False):
            yield owner.__name__
    for name in found.__struct_fields__:
        yield from _of_type(getattr(found, name), seen)
