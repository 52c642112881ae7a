"""Writes orders.jsonl: a few hundred orders of a shop, the same every time, some of them invalid in various ways."""

import json
import random
from pathlib import Path
from typing import Any

COUNT = 400
WARES = {"kettle-1l": 39, "teapot-glass": 24, "cup-stone": 9, "tray-oak": 49, "grinder": 189, "espresso-2": 899}

INVALID: dict[int, Any] = {
    11: {"amount": "a lot"},
    47: {"amount": -20},
    63: {"order_id": ...},
    88: {"method": "shells"},
    101: '{"order_id": "order-0101", "amount": 12',
    129: {"items": [{"sku": "cup-stone", "quantity": 0, "price": 9}]},
    150: {"items": [{"sku": "cup-stone", "quantity": 2, "price": 9}, {"sku": "", "quantity": 1, "price": 24}]},
    177: {"amount": 0},
    202: '["order-0202", 48, "card"]',
    240: {"stock": "maybe"},
    266: {"amount": ...},
    281: {"order_id": ""},
    303: {"items": [{"sku": "tray-oak", "quantity": "two", "price": 49}]},
    322: {"amount": 39.5},
    341: {"method": None},
    366: "order-0366;39;card",
    389: {"items": [{"sku": "kettle-1l", "quantity": 1}]},
}
"""What is wrong with which line: another line, or other fields (... for a field that is missing)."""


def order(number: int, draw: random.Random) -> dict[str, Any]:
    """A valid order; in about one of forty the amount is not what its items cost."""
    items: list[dict[str, Any]] = [
        {"sku": sku, "quantity": draw.choices([1, 2, 6], [8, 3, 1])[0], "price": WARES[sku]}
        for sku in sorted(draw.sample(sorted(WARES), draw.choices([1, 2, 3], [5, 3, 1])[0]))
    ]
    amount = sum(item["quantity"] * item["price"] for item in items)
    return {
        "order_id": f"order-{number:04}",
        "customer": f"c-{draw.randint(1, 160):04}",
        "items": items,
        "amount": amount - 10 if draw.random() < 0.025 and amount > 10 else amount,
        "method": draw.choices(["card", "invoice"], [4, 1])[0],
        "stock": draw.choices(["in", "out", "later", "lost"], [82, 9, 7, 2])[0],
    }


def lines() -> list[str]:
    """The lines of the file."""
    draw = random.Random(20)
    made = []
    for number in range(1, COUNT + 1):
        fields, wrong = order(number, draw), INVALID.get(number, {})
        if isinstance(wrong, str):
            made.append(wrong)
            continue
        fields.update(wrong)
        made.append(json.dumps({name: value for name, value in fields.items() if value is not ...}))
    return made


if __name__ == "__main__":
    Path(__file__).with_name("orders.jsonl").write_text("\n".join(lines()) + "\n")
