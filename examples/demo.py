"""Real work that survives a kill: orders.jsonl through order_processor on one SQLite file.

This process reads the orders and triggers a run for each. A worker process does the work, and is killed with -9 twice
on the way. At the end every order that was accepted must have ended, exactly once.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path

import msgspec

from examples.order_processor import Order, Status, builder
from workflow import Run, RunState, Workflow, WorkflowError, diagram
from workflow.verify import verify
from workflow_adapters.sqlite import SQLiteBackend

ORDERS = Path(__file__).with_name("orders.jsonl")
LEASE = timedelta(seconds=1)
"""How long the next worker waits for the roles of one that was killed."""
KILLS = (0.25, 0.6)
"""The shares of orders ended at which the worker is killed."""
PATIENCE = 60.0


def read_orders() -> tuple[list[Order], list[str]]:
    """The orders of the file, and what is wrong with the lines that hold none."""
    orders, refused = [], []
    for number, line in enumerate(ORDERS.read_text().splitlines(), start=1):
        try:
            order = msgspec.json.decode(line, type=Order)
        except msgspec.DecodeError as error:
            refused.append(f"line {number}: {error}")
            continue
        if order.order_id:
            orders.append(order)
        else:
            refused.append(f"line {number}: order_id is missing")
    return orders, refused


async def worker(path: str) -> None:
    """What a worker process does: run the workflow until it is told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with SQLiteBackend(path, lease_time=LEASE) as backend, builder.build(backend).running():
        await stop.wait()


def start_worker(path: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "examples.demo", "worker", path])


async def ended(wf: Workflow[Order, Status]) -> int:
    finished = [RunState.COMPLETED, RunState.CANCELLED]
    return len(await wf.list(run_states=finished, limit=10_000))


async def feed(wf: Workflow[Order, Status], orders: list[Order]) -> dict[str, int]:
    """Trigger every order; what comes back is promised to be durable."""
    acknowledged = {}
    for order in orders:
        run_id = f"run-{order.order_id}"
        acknowledged[await wf.trigger(order.order_id, order, run_id=run_id)] = 1
        await asyncio.sleep(0.005)
    return acknowledged


async def watch(wf: Workflow[Order, Status], path: str, total: int) -> None:
    """Show progress, kill the worker on the way, and return when every order has ended."""
    process, kills = start_worker(path), list(KILLS)
    deadline = asyncio.get_running_loop().time() + PATIENCE
    try:
        while (done := await ended(wf)) < total:
            print(f"\r{done:4} of {total} orders ended", end="", flush=True)
            if kills and done >= kills[0] * total:
                kills.pop(0)
                process.kill()
                process.wait()
                print(f"\r{done:4} of {total} orders ended; worker {process.pid} killed with -9, another one starts")
                process = start_worker(path)
            if asyncio.get_running_loop().time() > deadline:
                raise SystemExit(f"\nonly {done} of {total} orders ended within {PATIENCE:g} s")
            await asyncio.sleep(0.1)
        print(f"\r{total:4} of {total} orders ended")
    finally:
        process.terminate()
        process.wait()


def outcome(run: Run[Order, Status]) -> str:
    return "CANCELLED" if run.run_state is RunState.CANCELLED else run.status.name


async def main() -> bool:
    orders, refused = read_orders()
    print(f"{len(orders)} orders in {ORDERS.name}; {len(refused)} lines refused, for example {refused[0]}")
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "orders.db")
        async with SQLiteBackend(path, lease_time=LEASE) as backend:
            wf = builder.build(backend)
            feeding = asyncio.create_task(feed(wf, orders))
            await watch(wf, path, len(orders))
            acknowledged = await feeding
            runs = await wf.list(limit=10_000)
            report = await verify(backend.record_store, wf, acknowledged=acknowledged)
    print("\nOutcomes:")
    for name, count in Counter(outcome(run) for run in runs).most_common():
        print(f"  {name:10} {count:4}")
    print(f"\nChecker: {report}")
    good = not report.violations and len(runs) == len(orders)
    print("Nothing lost, nothing twice." if good else "THE PROMISE WAS BROKEN.")
    print("\n" + diagram(wf))
    return good


if __name__ == "__main__":
    try:
        if sys.argv[1:2] == ["worker"]:
            asyncio.run(worker(sys.argv[2]))
        else:
            sys.exit(0 if asyncio.run(main()) else 1)
    except (WorkflowError, json.JSONDecodeError) as error:
        sys.exit(f"demo: {error}")
