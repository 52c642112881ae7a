"""Objects and payloads as JSON.

Owns which object types a workflow may have and how they are read and written. msgspec serves its own structs,
dataclasses, attrs classes, TypedDicts and builtins; pydantic models keep their own validation, so they go through
their own JSON methods. pydantic is never imported first: a model can only exist where it is loaded already.
"""

import sys
from collections.abc import Callable
from functools import partial
from types import UnionType
from typing import (
    Annotated,
    Any,
    Generic,
    Protocol,
    TypeGuard,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    is_typeddict,
)

import msgspec

from ..protocols import Codec
from .round_trip import difference
from .unknown_fields import with_unknown

T = TypeVar("T")

_MOST_REASONS = 5
"""How many of the reasons why a value is invalid `describe` repeats."""


class JSONCodec(Codec[T], Generic[T]):
    """The default codec: one JSON encoder and decoder, built once for one object type."""

    def __init__(self, object_type: type[T]) -> None:
        """Build both directions.

        Raises:
            TypeError: the type is not one class that JSON can carry (a union, a function, Any, a class without
                declared fields …).
        """
        _check(object_type)
        self._type: type[Any] | None = _class_with_fields(object_type)
        self._encode, self._decode = _pair(object_type)

    def encode(self, value: T) -> bytes:
        """The value as JSON.

        Raises:
            TypeError: it is not of the workflow's object type, or holds what JSON cannot.
        """
        # Neither library looks at the type when it writes; a wrong object would only be found when a later step
        # reads it, far from the handler that is at fault.
        if self._type is not None and not isinstance(value, self._type):
            raise TypeError(f"expected an object of type {self._type.__name__}, got {type(value).__name__}")
        return self._encode(value)

    def decode(self, data: bytes) -> T:
        """The value again, validated; `describe` makes its errors readable."""
        return cast("T", self._decode(data))

    def keep(self, stored: bytes, data: bytes) -> bytes:
        """`data`, with the fields of `stored` that the object type does not know: see `KeepsUnknownFields`."""
        known = self._encode(self._decode(stored))
        if known == stored:
            return data
        return with_unknown(stored, known, data, lambda merged: self._reads_alike(merged, data))

    def _reads_alike(self, one: bytes, other: bytes) -> bool:
        wanted = self._decode(other)
        try:
            return difference(wanted, self._decode(one)) is None
        except Exception:  # noqa: BLE001 - validators of the user's may raise anything
            return False


def zero_value(object_type: type[T]) -> T:
    """The object of a run that is triggered without a value: `object_type()`.

    Raises:
        TypeError: there is no such value, because the type has required fields or keys.
    """
    name = _name(object_type)
    required = getattr(object_type, "__required_keys__", ()) if is_typeddict(object_type) else ()
    if required:
        keys = ", ".join(sorted(required))
        raise TypeError(f"{name} has no zero value: its keys {keys} are required, so give an initial value")
    make = cast("Callable[[], T]", _bare(object_type))
    try:
        return make()
    except (TypeError, ValueError) as error:  # pydantic's ValidationError is a ValueError
        raise TypeError(f"{name}() has no zero value: {describe(error)}; give an initial value") from error


def payload_decoder(annotation: Any) -> Callable[[bytes], Any]:
    """How a callback's payload is read, by the annotation of its parameter.

    `bytes` is handed over as it came; so is everything for a parameter without annotation. Any other type, `str`
    included, is decoded from JSON and validated; `describe` makes the decoder's errors readable.

    Raises:
        TypeError: nothing can be decoded to this annotation.
    """
    if annotation is bytes:
        return bytes
    _, decode = _pair(annotation)
    return decode


def describe(error: BaseException) -> str:
    """Where and why a value is invalid, as `field: reason`, without the values that pydantic would repeat."""
    if isinstance(error, msgspec.ValidationError):
        reason, found, where = str(error).partition(" - at `$")
        path = where.rstrip("`").lstrip(".")
        return f"{path}: {reason}" if found and path else reason
    if _is_pydantic_error(error):
        return _pydantic_reasons(error.errors(include_url=False, include_context=False, include_input=False))
    if isinstance(error, msgspec.DecodeError):
        return f"not valid JSON: {error}"
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:  # noqa: BLE001 - a broken __str__ must not hide that the value is invalid
        return f"{type(error).__name__}: (its text cannot be had)"


class _PydanticError(Protocol):
    def errors(self, *, include_url: bool, include_context: bool, include_input: bool) -> list[Any]: ...


def _is_pydantic_error(error: Any) -> TypeGuard[_PydanticError]:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(error, pydantic.ValidationError)


def _pydantic_reasons(details: list[Any]) -> str:
    reasons = [": ".join(filter(None, (".".join(map(str, d["loc"])), d["msg"]))) for d in details[:_MOST_REASONS]]
    more = len(details) - len(reasons)
    return "; ".join(reasons) + (f"; and {more} more" if more else "")


class _PydanticModel(Protocol):
    @classmethod
    def model_validate_json(cls, data: bytes, /) -> Any: ...

    @classmethod
    def model_validate(cls, data: Any, /) -> Any: ...

    def model_dump_json(self, *, by_alias: bool, round_trip: bool) -> str: ...

    def model_dump(self, *, mode: str, by_alias: bool, round_trip: bool) -> Any: ...


def _pair(object_type: Any) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    """Encoder and decoder of a type."""
    if _is_model(object_type):
        model = cast("_PydanticModel", object_type)
        return _dump_model, model.model_validate_json
    if _mentions_pydantic(object_type):
        from pydantic import TypeAdapter

        adapter = TypeAdapter(object_type)
        return partial(adapter.dump_json, by_alias=True, round_trip=True), adapter.validate_json
    encoder = msgspec.json.Encoder(enc_hook=_encode_nested)
    decoder = msgspec.json.Decoder(object_type, dec_hook=_decode_nested)
    return encoder.encode, decoder.decode


def encode_payload(value: object) -> bytes:
    """The payload of a callback as bytes: bytes as they are, any other object as JSON.

    Raises:
        TypeError: it is text (bytes or an object are meant), or cannot be written as JSON.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        raise TypeError("payload must be bytes, or an object to be written as JSON, not str")
    if _is_model(type(value)):
        return _dump_model(cast("_PydanticModel", value))
    return msgspec.json.encode(value, enc_hook=_encode_nested)


def _dump_model(value: _PydanticModel) -> bytes:
    # As it is read again: by alias, without computed fields, Json fields as text.
    return value.model_dump_json(by_alias=True, round_trip=True).encode()


def _encode_nested(value: Any) -> Any:
    """A pydantic model inside a struct or dataclass."""
    if _is_model(type(value)):
        return value.model_dump(mode="json", by_alias=True, round_trip=True)
    raise TypeError(f"objects of type {type(value).__name__} cannot be written as JSON")


def _decode_nested(wanted: Any, value: Any) -> Any:
    if _is_model(wanted):
        return wanted.model_validate(value)
    raise TypeError(f"objects of type {_name(wanted)} cannot be read from JSON")


def _check(object_type: Any) -> None:
    name = _name(object_type)
    bare = _bare(object_type)
    if get_origin(bare) in (Union, UnionType):
        raise TypeError(f"object type {name} is a union: a workflow has one class, so wrap the union in one")
    outer = get_origin(bare) or bare
    if not isinstance(outer, type) or outer in (object, Any):
        raise TypeError(f"object type {name} is not a class: use a dataclass, a struct, a model or a builtin")
    if _mentions_pydantic(bare):
        return
    try:
        found = msgspec.inspect.type_info(bare)
    except TypeError as error:
        raise TypeError(f"object type {name} cannot be carried by JSON: {error}") from error
    if isinstance(found, msgspec.inspect.CustomType):
        raise TypeError(
            f"object type {name} declares no fields: make it a dataclass, a struct, an attrs class or a model"
        )


def _class_with_fields(object_type: Any) -> type[Any] | None:
    """The class whose instances the codec insists on; None for builtins, which JSON may widen (1 for a float)."""
    bare = _bare(object_type)
    outer = get_origin(bare) or bare
    if _is_model(outer):
        return cast("type[Any]", outer)
    fields = (msgspec.inspect.StructType, msgspec.inspect.DataclassType)
    return outer if isinstance(msgspec.inspect.type_info(bare), fields) else None


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _is_model(annotation: Any) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)


def _mentions_pydantic(annotation: Any) -> bool:
    """True for models, pydantic's own dataclasses, and containers or unions of them."""
    if hasattr(annotation, "__pydantic_validator__"):
        return True
    return any(_mentions_pydantic(part) for part in get_args(annotation))


def _name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else repr(annotation)
