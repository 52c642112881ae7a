"""Scale out: the orders of `order_processor` on Postgres, where any number of these processes share the work.

    WORKFLOW_POSTGRES_URL=postgresql://… python -m examples.postgres_orders

Start it several times at once, with the same schema: an order that another process has triggered is not triggered
again, and each process prints the outcomes when all orders have ended. Run once more, it finds them ended.
"""

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path

import msgspec

from examples.order_processor import Order, Status, builder
from workflow import RunState, Workflow, WorkflowError
from workflow_adapters.postgres import PostgresBackend

ORDERS = Path(__file__).with_name("orders.jsonl")
SCHEMA = os.environ.get("WORKFLOW_POSTGRES_SCHEMA", "orders_example")
PATIENCE = 60.0


def read_orders() -> tuple[list[Order], int]:
    """The orders of the file, and how many of its lines hold none."""
    orders, refused = [], 0
    for line in ORDERS.read_text().splitlines():
        try:
            order = msgspec.json.decode(line, type=Order)
        except msgspec.DecodeError:
            refused += 1
            continue
        if order.order_id:
            orders.append(order)
        else:
            refused += 1
    return orders, refused


async def trigger(wf: Workflow[Order, Status], order: Order) -> None:
    """Start a run for the order, unless there is one: the run ID says which it is, whoever starts it."""
    await wf.trigger(order.order_id, order, run_id=f"run-{order.order_id}")


async def outcomes(wf: Workflow[Order, Status]) -> Counter[str]:
    """Of the orders that have ended, how many ended how."""
    ended = await wf.list(run_states=[RunState.COMPLETED, RunState.CANCELLED], limit=10_000)
    return Counter("CANCELLED" if run.run_state is RunState.CANCELLED else run.status.name for run in ended)


async def main(url: str) -> Counter[str]:
    orders, refused = read_orders()
    print(f"{len(orders)} orders in {ORDERS.name}, {refused} lines refused")
    async with PostgresBackend(url, schema=SCHEMA) as backend, builder.build(backend).running() as wf:
        await asyncio.gather(*(trigger(wf, order) for order in orders))
        async with asyncio.timeout(PATIENCE):
            while (counts := await outcomes(wf)).total() < len(orders):
                await asyncio.sleep(0.1)
    return counts


if __name__ == "__main__":
    if not os.environ.get("WORKFLOW_POSTGRES_URL"):
        sys.exit("WORKFLOW_POSTGRES_URL says where the database is; `make services` starts one and prints it")
    try:
        for name, count in sorted(asyncio.run(main(os.environ["WORKFLOW_POSTGRES_URL"])).items()):
            print(f"{name:10} {count:4}")
    except (WorkflowError, TimeoutError) as error:
        sys.exit(f"postgres_orders: {error!r}")
