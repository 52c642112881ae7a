"""Real work that survives a kill: orders.jsonl through order_processor on one SQLite file.

This process reads the orders and triggers a run for each. A worker process does the work, and is killed with -9 twice
on the way. At the end every order that was accepted must have ended, exactly once.

make demo
"""

import asyncio
import logging
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

try:
    from examples.order_processor import Order, Status, builder
    from examples.read_orders import read_orders
    from workflow import Run, RunState, Workflow, diagram
    from workflow.verify import verify
    from workflow_adapters.logging import JSONFormatter
    from workflow_adapters.sqlite import SQLiteBackend
except ModuleNotFoundError as missing:
    sys.exit(f"demo: {missing}. `make demo` installs what it needs; or run `pip install -e .` first.")

ROOT = Path(__file__).parents[1]
ORDERS = Path(__file__).with_name("orders.jsonl")
LEASE = timedelta(seconds=2)
"""How long the next worker waits for the roles of one that was killed."""
KILLS = (0.25, 0.6)
"""The shares of orders ended at which the worker is killed."""
LOOK = 0.1
"""Seconds between looks at how far the orders are."""
PATIENCE = 60.0
"""Seconds without a single order ending after which something must be wrong."""


class Failed(Exception):
    """The demo cannot go on; says why."""


# -- the worker process ----------------------------------------------------------------------------------------------


async def worker(path: Path) -> None:
    """What a worker process does: run the workflow until it is told to stop."""
    log = logging.FileHandler(path.with_name("worker.log"))
    log.setFormatter(JSONFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[log])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with SQLiteBackend(path, lease_time=LEASE) as backend, builder.build(backend).running():
        await stop.wait()


def start_worker(path: Path) -> "subprocess.Popen[bytes]":
    """A worker process on this file."""
    return subprocess.Popen([sys.executable, "-m", "examples.demo", "worker", str(path)], cwd=ROOT)


def end_worker(process: "subprocess.Popen[bytes]") -> None:
    """Stop it in good order; it lets handlers finish first."""
    process.terminate()
    try:
        process.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# -- this process ----------------------------------------------------------------------------------------------------


class Progress:
    """One line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int) -> None:
        self._total, self._shown = total, -total
        self._moved = time.monotonic()
        self.ended = 0

    def show(self, ended: int) -> None:
        """So many have ended.

        Raises:
            Failed: none did for too long.
        """
        now = time.monotonic()
        if ended > self.ended:
            self.ended, self._moved = ended, now
        elif now - self._moved > PATIENCE:
            raise Failed(f"no order ended for {PATIENCE:g} s; {ended} of {self._total} have")
        bar = "#" * (40 * ended // self._total)
        line = f"  [{bar:40}] {ended:3} of {self._total} orders ended"
        if sys.stdout.isatty():
            print(f"\r{line}", end="", flush=True)
        elif ended - self._shown >= self._total / 10 or ended == self._total > self._shown:
            self._shown = ended
            print(line, flush=True)

    def say(self, text: str) -> None:
        """A line of its own."""
        print(f"\n{text}" if sys.stdout.isatty() else text, flush=True)


async def feed(wf: Workflow[Order, Status], orders: list[Order]) -> dict[str, int]:
    """Trigger every order; what comes back is promised to be durable."""
    acknowledged = {}
    for order in orders:
        run_id = f"run-{order.order_id}"
        acknowledged[await wf.trigger(order.order_id, order, run_id=run_id)] = 1
        await asyncio.sleep(0.005)
    return acknowledged


async def watch(wf: Workflow[Order, Status], path: Path, total: int) -> None:
    """Show progress, kill the worker on the way, and return when every order has ended."""
    progress, kills = Progress(total), list(KILLS)
    process = start_worker(path)
    progress.say(f"Worker {process.pid} started.")
    finished = [RunState.COMPLETED, RunState.CANCELLED]
    try:
        while progress.ended < total:
            await asyncio.sleep(LOOK)
            progress.show((await wf.count(run_states=finished)).value)
            if kills and progress.ended >= kills[0] * total:
                kills.pop(0)
                process.kill()
                process.wait()
                killed, process = process.pid, start_worker(path)
                progress.say(f"Worker {killed} killed with -9 in the middle of its work; worker {process.pid} started.")
            elif process.poll() is not None:
                raise Failed(f"worker {process.pid} ended by itself with code {process.returncode}")
        progress.say("All have ended.")
    finally:
        end_worker(process)


def outcome(run: Run[Order, Status]) -> str:
    """How an order ended."""
    return "CANCELLED" if run.run_state is RunState.CANCELLED else run.status.name


async def process_orders(directory: Path) -> bool:
    """The whole demo; True if the promise was kept."""
    orders, refused = read_orders(ORDERS)
    print(f"{ORDERS.name}: {len(orders)} orders, {len(refused)} lines refused:")
    for line in refused:
        print(f"  {line}")
    path = directory / "orders.db"
    async with SQLiteBackend(path, lease_time=LEASE) as backend:
        wf = builder.build(backend)
        feeding = asyncio.create_task(feed(wf, orders))
        try:
            await watch(wf, path, len(orders))
            acknowledged = await feeding
        finally:
            feeding.cancel()
        runs = await wf.list(limit=10_000)
        report = await verify(backend.record_store, wf, acknowledged=acknowledged)
        retried = 0
        for run in runs:
            retried += any(version.attempt > 1 for version in await wf.history(run.run_id))
    print(f"\nOutcomes ({retried} orders needed more than one attempt of a step):")
    for name, count in Counter(outcome(run) for run in runs).most_common():
        print(f"  {name:10} {count:4}")
    print(f"\nChecker: {report}")
    kept = report.ok and len(runs) == len(orders)
    print("Nothing lost, nothing twice." if kept else "THE PROMISE WAS BROKEN.")
    print("\n" + diagram(wf))
    return kept


def main() -> None:
    """Run the demo in a directory that is kept when it fails."""
    if not ORDERS.exists():
        sys.exit(f"demo: {ORDERS} is missing; `python -m examples.make_orders` writes it.")
    directory, began = Path(tempfile.mkdtemp(prefix="workflow-demo-")), time.monotonic()
    try:
        kept = asyncio.run(process_orders(directory))
    except Failed as error:
        sys.exit(f"\ndemo: {error}. The database and the worker's log are in {directory}")
    if not kept:
        sys.exit(f"demo: the database and the worker's log are in {directory}")
    shutil.rmtree(directory)
    print(f"\nTook {time.monotonic() - began:.1f} s.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        asyncio.run(worker(Path(sys.argv[2])))
    else:
        main()
