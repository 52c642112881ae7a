"""The example on Postgres, as a user starts it: several processes at once."""

import asyncio
import os
import sys
from collections import Counter

from examples.order_processor import CARD_LIMIT, Order, builder
from examples.postgres_orders import read_orders
from tests.postgres.database import Database
from workflow.verify import verify


def _expected(order: Order) -> str:
    if order.amount != sum(item.quantity * item.price for item in order.items):
        return "REJECTED"
    return {"in": "FULFILLED", "out": "REFUNDED", "later": "REFUNDED"}.get(order.stock, "CANCELLED")


async def _run(environment: dict[str, str]) -> str:
    command = (sys.executable, "-m", "examples.postgres_orders")
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, (output + errors).decode()
    return output.decode()


async def test_processes_that_share_the_orders_end_each_once(database: Database) -> None:
    """R-EX-7."""
    environment = {**os.environ, "WORKFLOW_POSTGRES_URL": database.url, "WORKFLOW_POSTGRES_SCHEMA": database.schema}
    outputs = await asyncio.gather(_run(environment), _run(environment))
    orders, refused = read_orders()
    expected = Counter(map(_expected, orders))
    for output in outputs:
        first, *rest = output.splitlines()
        assert first == f"{len(orders)} orders in orders.jsonl, {refused} lines refused"
        assert {line.split()[0]: int(line.split()[1]) for line in rest} == expected
    async with database.backend(migrate=False) as backend:
        wf = builder.build(backend)
        report = await verify(backend.record_store, wf, acknowledged={f"run-{order.order_id}": 1 for order in orders})
        assert report.ok, str(report)
        assert report.runs == len(orders)
        declined = [order for order in orders if _expected(order) != "REJECTED" and order.amount > CARD_LIMIT]
        for order in [order for order in declined if order.method == "card"][:5]:
            history = await wf.history(f"run-{order.order_id}")
            assert history[-1].object.payment_tries == 3
