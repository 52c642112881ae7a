"""Writes orders.jsonl: a few hundred orders, the same every time, some of them invalid."""

import json
import random
from pathlib import Path

COUNT = 400


def orders() -> list[dict[str, object]]:
    draw = random.Random(20)
    made: list[dict[str, object]] = []
    for number in range(1, COUNT + 1):
        order: dict[str, object] = {
            "order_id": f"order-{number:04}",
            "amount": draw.choice([15, 40, 99, 250, 640, 1200, 1999]),
            "method": draw.choices(["card", "invoice"], [4, 1])[0],
            "stock": draw.choices(["in", "out", "later", "lost"], [80, 10, 8, 2])[0],
        }
        kind = draw.random()
        if kind < 0.03:
            order["amount"] = draw.choice([0, -20])
        elif kind < 0.05:
            order["method"] = "shells"
        elif kind < 0.07:
            order["amount"] = "a lot"
        elif kind < 0.08:
            del order["order_id"]
        made.append(order)
    return made


if __name__ == "__main__":
    lines = [json.dumps(order) for order in orders()]
    lines[100] = '{"order_id": "order-0101", "amount": 12'
    Path(__file__).with_name("orders.jsonl").write_text("\n".join(lines) + "\n")
