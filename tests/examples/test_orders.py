"""Orders are read line by line: what is wrong with one is reported and stops no other."""

from pathlib import Path

import pytest

from examples.make_orders import INVALID, lines
from examples.read_orders import read_orders

GOOD = '{"order_id": "order-1", "amount": 12, "items": [{"sku": "cup", "quantity": 1, "price": 12}]}'
ORDERS = Path(__file__).parents[2] / "examples" / "orders.jsonl"


@pytest.mark.parametrize(
    ("line", "report"),
    [
        ('{"order_id": "order-2", "amount": -3}', "line 2: amount = -3: expected `int` >= 1"),
        ('{"order_id": "order-2", "amount": "much"}', "line 2: amount = 'much': expected `int`, got `str`"),
        ('{"order_id": "order-2"}', "line 2: amount = nothing: required"),
        (
            '{"order_id": "order-2", "amount": 1, "method": "shells"}',
            "line 2: method = 'shells': invalid enum value 'shells'",
        ),
        (GOOD.replace('"quantity": 1', '"quantity": 0'), "line 2: items[0].quantity = 0: expected `int` >= 1"),
        (GOOD.replace(', "price": 12', ""), "line 2: items[0].price = nothing: required"),
        (GOOD, "line 2: order_id = 'order-1': line 1 has it already"),
        ("[]", "line 2: the whole line = []: expected `object`, got `array`"),
        ("{", "line 2: the whole line = '{': not JSON: Input data was truncated"),
        (b"\xff", "line 2: the whole line = '�': not JSON: JSON is malformed: invalid character (byte 0)"),
    ],
)
def test_a_wrong_line_is_reported_with_its_number_field_and_value(
    line: str | bytes, report: str, tmp_path: Path
) -> None:
    path = tmp_path / "orders.jsonl"
    last = GOOD.replace("order-1", "order-3")
    wrong = line if isinstance(line, bytes) else line.encode()
    path.write_bytes(b"\n".join([GOOD.encode(), wrong, b"", last.encode()]))
    orders, refused = read_orders(path)
    assert [str(one) for one in refused] == [report]
    assert [order.order_id for order in orders] == ["order-1", "order-3"]


def test_the_file_of_orders_is_what_its_program_writes_and_every_wrong_line_is_found() -> None:
    """R-EX-7: orders invalid on purpose."""
    assert ORDERS.read_text().splitlines() == lines()
    orders, refused = read_orders(ORDERS)
    assert [one.line for one in refused] == sorted(INVALID)
    assert len(orders) == len(lines()) - len(INVALID) > 300
