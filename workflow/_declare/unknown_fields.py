"""Fields of a stored object that this release of the user's program does not know: they outlive its steps.

During a deploy two releases work on one run. The older one decodes an object without the fields that the newer one
added, so what it encodes lacks them. They are taken over from the bytes that were stored. Nothing here knows types:
what the stored bytes hold, and the bytes of the same object as this release writes it do not, is unknown.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import msgspec

_Object: TypeAlias = dict[str, msgspec.Raw]
_List: TypeAlias = list[msgspec.Raw]

_object = msgspec.json.Decoder(_Object).decode
_list = msgspec.json.Decoder(_List).decode
_encode = msgspec.json.Encoder().encode


def with_unknown(stored: bytes, known: bytes, data: bytes, same: Callable[[bytes], bool]) -> bytes:
    """`data` with the fields of `stored` that are unknown.

    Values are copied as they are written. A field is left out if with it the object would be read differently: an old
    name of a field, for example, that is still read but not written any more.

    Args:
        stored: an object as some release wrote it.
        known: the same object as this release writes it.
        data: what became of the object, as this release writes it.
        same: whether these bytes are read as the same object as `data`.
    """
    try:
        merged = _merged(stored, known, data)
    except (msgspec.MsgspecError, RecursionError):
        return data  # no plain JSON
    if merged is None or same(merged):
        return data if merged is None else merged
    return _one_by_one(merged, data, same)


def _one_by_one(merged: bytes, data: bytes, same: Callable[[bytes], bool]) -> bytes:
    """`data` with those fields of `merged` that leave the object as it is."""
    if not _is(merged, b"{"):
        return data
    fields = _object(data)
    for name, value in _object(merged).items():
        tried = {**fields, name: value}
        if fields.get(name) != value and same(_encode(tried)):
            fields = tried
    return _encode(fields)


def _merged(stored: Any, known: Any, data: Any) -> bytes | None:
    """`data` and what is unknown; None if that is nothing."""
    if bytes(stored) == bytes(known):
        return None
    if all(_is(one, b"{") for one in (stored, known, data)):
        return _merged_objects(_object(stored), _object(known), _object(data))
    if all(_is(one, b"[") for one in (stored, known, data)):
        return _merged_lists(_list(stored), _list(known), _list(data))
    return None


def _merged_objects(stored: _Object, known: _Object, data: _Object) -> bytes | None:
    found: _Object = {}
    for name, value in stored.items():
        if name not in known:
            if name not in data:
                found[name] = value
        elif name in data and (merged := _merged(value, known[name], data[name])) is not None:
            found[name] = msgspec.Raw(merged)
    return _encode({**data, **found}) if found else None


def _merged_lists(stored: _List, known: _List, data: _List) -> bytes | None:
    # The elements of an array-like struct are its fields; new ones are at the end.
    tail = stored[len(known) :] if len(data) == len(known) else []
    result = list(data)
    changed = bool(tail)
    for index, place in _places(known, data):
        if index < len(stored) and _agrees(stored[index], known[index]):
            merged = _merged(stored[index], known[index], data[place])
            if merged is not None:
                result[place], changed = msgspec.Raw(merged), True
    return _encode([*result, *tail]) if changed else None


def _places(known: _List, data: _List) -> Iterator[tuple[int, int]]:
    """Where each element of a list is now, for those of which that can be told.

    An element that did not change is found by its content. One that changed is taken to be where it was, if the list
    is as long as before.
    """
    free: dict[bytes, deque[int]] = defaultdict(deque)
    left = {}
    for place, value in enumerate(data):
        if place < len(known) and bytes(known[place]) == bytes(value):
            yield place, place
        else:
            free[bytes(value)].append(place)
            left[place] = value
    moved = [index for index, value in enumerate(known) if index >= len(data) or bytes(data[index]) != bytes(value)]
    changed = []
    for index in moved:
        places = free[bytes(known[index])]
        if places:
            place = places.popleft()
            del left[place]
            yield index, place
        else:
            changed.append(index)
    if len(known) == len(data):
        yield from ((index, index) for index in changed if index in left)


def _agrees(stored: Any, known: Any) -> bool:
    """True if these can be one element, with and without unknown fields: the order of a set may have changed."""
    if bytes(stored) == bytes(known):
        return True
    if _is(stored, b"{") and _is(known, b"{"):
        fields = _object(stored)
        return all(name not in fields or _agrees(fields[name], value) for name, value in _object(known).items())
    return _is(stored, b"[") and _is(known, b"[")


def _is(value: Any, opening: bytes) -> bool:
    return bytes(value).lstrip()[:1] == opening
