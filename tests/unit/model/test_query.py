"""The questions asked about runs, as values."""

from workflow import (
    Order,
)


def test_orders_have_the_texts_of_the_reference() -> None:
    """R-MODEL-12: an order is always given, so there is no unknown one."""
    assert [order.value for order in Order] == ["asc", "desc"]
