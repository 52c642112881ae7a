"""Orders: branching, payment retries, cancellation, a timeout and hooks.

A new order is validated, paid and packed. A declined card is tried up to three times, then the order is paid by
invoice; a payment service that does not answer is asked again after a back-off. What is out of stock is refunded, and
so is an order that waits for stock too long. What the warehouse has lost is cancelled.
"""

import asyncio
import logging
import zlib
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from workflow import Backoff, Builder, Decision, Options, Run
from workflow_adapters.memory import MemoryBackend

logger = logging.getLogger("orders")

CARD_LIMIT = 1000
MAX_PAYMENT_TRIES = 3


class Status(IntEnum):
    PLACED = 1
    VALIDATED = 2
    PAID = 3
    OUT_OF_STOCK = 4
    BACKORDERED = 5
    FULFILLED = 6
    REFUNDED = 7
    REJECTED = 8


class Item(msgspec.Struct):
    """One line of an order; `price` is of one piece, in whole currency units."""

    sku: Annotated[str, Meta(min_length=1)]
    quantity: Annotated[int, Meta(ge=1, le=1000)]
    price: Annotated[int, Meta(ge=1)]


class Order(msgspec.Struct):
    """One order, as it comes in and as it travels.

    `stock` stands in for a warehouse: what it will answer when the order is packed.
    """

    order_id: Annotated[str, Meta(min_length=1)]
    amount: Annotated[int, Meta(ge=1)]
    method: Literal["card", "invoice"] = "card"
    stock: Literal["in", "out", "later", "lost"] = "in"
    customer: str = ""
    items: list[Item] = []
    payment_tries: int = 0
    notes: list[str] = []


class PaymentUnavailable(Exception):
    """The payment service did not answer."""


builder = Builder("orders", Order, Status)


@builder.step(Status.PLACED)
async def validate(run: Run[Order, Status]) -> Literal[Status.VALIDATED, Status.REJECTED]:
    order = run.object
    total = sum(item.quantity * item.price for item in order.items)
    if order.items and total != order.amount:
        order.notes.append(f"rejected: the items cost {total}, the order says {order.amount}")
        return Status.REJECTED
    return Status.VALIDATED


@builder.step(
    Status.VALIDATED,
    options=Options(err_back_off=Backoff(first=timedelta(milliseconds=50)), pause_after_err_count=5),
)
async def pay(run: Run[Order, Status]) -> Literal[Status.PAID] | Decision:
    order = run.object
    order.payment_tries += 1
    if run.attempt == 1 and order.payment_tries == 1 and unlucky(run.foreign_id):
        # An exception is a failed attempt: it is tried again after the back-off, and the object is as it was.
        raise PaymentUnavailable(f"no answer for {run.idempotency_key}")
    if order.method == "card" and order.amount > CARD_LIMIT:
        if order.payment_tries < MAX_PAYMENT_TRIES:
            return run.save_and_repeat()
        order.method = "invoice"
        order.notes.append("card declined, paid by invoice")
    # A real payment service would be handed run.idempotency_key, so that a repeated call charges once.
    return Status.PAID


def unlucky(order_id: str) -> bool:
    """About one order in ten meets a payment service that does not answer at first."""
    return zlib.crc32(order_id.encode()) % 10 == 0


@builder.step(Status.PAID)
async def pack(
    run: Run[Order, Status],
) -> Literal[Status.FULFILLED, Status.OUT_OF_STOCK, Status.BACKORDERED] | Decision:
    match run.object.stock:
        case "in":
            return Status.FULFILLED
        case "out":
            return Status.OUT_OF_STOCK
        case "later":
            return Status.BACKORDERED
        case "lost":
            return run.cancel("lost in the warehouse")


@builder.step(Status.OUT_OF_STOCK)
def refund(run: Run[Order, Status]) -> Literal[Status.REFUNDED]:
    run.object.notes.append(f"refunded {run.object.amount}")
    return Status.REFUNDED


@builder.callback(Status.BACKORDERED)
async def restocked(run: Run[Order, Status], quantity: int) -> Literal[Status.FULFILLED] | Decision:
    return Status.FULFILLED if quantity > 0 else run.skip()


@builder.timeout(Status.BACKORDERED, timedelta(milliseconds=500))
async def waited_too_long(run: Run[Order, Status], now: datetime) -> Literal[Status.OUT_OF_STOCK]:
    run.object.notes.append("not restocked in time")
    return Status.OUT_OF_STOCK


@builder.on_pause
async def ask_for_help(run: Run[Order, Status]) -> None:
    logger.warning("order %s paused: %s", run.foreign_id, run.meta.run_state_reason)


@builder.on_cancel
async def tell_support(run: Run[Order, Status]) -> None:
    logger.info("order %s cancelled: %s", run.foreign_id, run.meta.run_state_reason)


@builder.on_complete
async def tell_customer(run: Run[Order, Status]) -> None:
    logger.info("order %s ended as %s", run.foreign_id, run.status.name)


async def main() -> dict[str, str]:
    """Three orders: one plain, one whose card is declined three times, one out of stock."""
    orders = [
        Order(order_id="order-1", amount=100),
        Order(order_id="order-2", amount=1500),
        Order(order_id="order-3", amount=80, stock="out"),
    ]
    wanted = [Status.FULFILLED, Status.FULFILLED, Status.REFUNDED]
    async with MemoryBackend() as backend:
        wf = builder.build(backend)
        async with wf.running():
            for order in orders:
                await wf.trigger(order.order_id, order)
            ends = {}
            for order, status in zip(orders, wanted, strict=True):
                run = await wf.wait_for(order.order_id, status, timeout=timedelta(seconds=10))
                ends[order.order_id] = f"{run.status.name} by {run.object.method}"
    return ends


if __name__ == "__main__":
    for order_id, end in asyncio.run(main()).items():
        print(order_id, end)
