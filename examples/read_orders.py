"""Reads orders from a file, one JSON object a line; what is wrong with a line is reported and stops no other.

python -m examples.read_orders examples/orders.jsonl
"""

import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from examples.order_processor import Order

LONGEST = 40
"""Characters of a wrong value that are shown."""


class Refused(msgspec.Struct, frozen=True):
    """A line that holds no order: which, what is wrong with it, and where."""

    line: int
    field: str
    value: str
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field} = {self.value}: {self.why}"


def read_orders(path: Path) -> tuple[list[Order], list[Refused]]:
    """The orders of the file, and the lines that hold none. Blank lines are neither."""
    orders: list[Order] = []
    refused: list[Refused] = []
    lines: dict[str, int] = {}
    for number, text in enumerate(path.read_bytes().splitlines(), start=1):
        if not text.strip():
            continue
        order = read_order(number, text)
        if isinstance(order, Order) and order.order_id in lines:
            order = Refused(number, "order_id", repr(order.order_id), f"line {lines[order.order_id]} has it already")
        if isinstance(order, Refused):
            refused.append(order)
            continue
        lines[order.order_id] = number
        orders.append(order)
    return orders, refused


def read_order(number: int, text: bytes) -> Order | Refused:
    """The order of one line."""
    try:
        raw = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Refused(number, "the whole line", _short(text.decode(errors="replace")), f"not JSON: {error}")
    try:
        return msgspec.convert(raw, Order)
    except msgspec.ValidationError as error:
        why, _, where = str(error).partition(" - at ")
        missing = re.fullmatch(r"Object missing required field `(\w+)`", why)
        path = where.strip("`").removeprefix("$").lstrip(".")
        if missing:
            return Refused(number, f"{path}.{missing[1]}".lstrip("."), "nothing", "required")
        return Refused(number, path or "the whole line", _short(_at(raw, path)), why[:1].lower() + why[1:])


def _at(value: Any, path: str) -> Any:
    """What `raw.a[0].b` is, for the path `a[0].b`."""
    for key in re.findall(r"\w+", path):
        value = value[int(key) if isinstance(value, list) else key]
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


if __name__ == "__main__":
    found, wrong = read_orders(Path(sys.argv[1]))
    print(f"{len(found)} orders, {len(wrong)} lines refused")
    for line in wrong:
        print(line)
