"""Every example runs, and does what it says (R-EX-1 to R-EX-6, R-EX-9)."""

import asyncio
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from examples import callback, connector, getting_started, order_processor, schedule, timeout
from examples.order_processor import Order, unlucky
from workflow import NotWaiting, RecordNotFound, Run, RunState
from workflow.testing import FakeClock, require
from workflow_adapters.memory import MemoryBackend

ROOT = Path(__file__).parents[2]
PATIENCE = timedelta(seconds=30)


async def test_getting_started_ticks_every_field(tmp_path: Path) -> None:
    """R-EX-1."""
    guide = await getting_started.main(str(tmp_path / "runs.db"))
    assert guide == getting_started.Guide(docs_read=True, example_run=True, done=True)


async def test_getting_started_ticks_one_field_with_each_step() -> None:
    """R-EX-1."""
    Guide, Status = getting_started.Guide, getting_started.Status  # noqa: N806 - classes
    async with MemoryBackend() as backend, getting_started.builder.build(backend).running() as wf:
        await wf.trigger("reader")
        await require(wf, "reader", Status.STARTED, Guide())
        await require(wf, "reader", Status.DOCS_READ, Guide(docs_read=True))
        await require(wf, "reader", Status.EXAMPLE_RUN, Guide(docs_read=True, example_run=True))
        await require(wf, "reader", Status.DONE, Guide(docs_read=True, example_run=True, done=True))


async def test_a_callback_confirms() -> None:
    """R-EX-2."""
    assert await callback.main() == callback.Signup(email="someone@example.com", confirmed=True)


async def test_a_refusal_leaves_the_callback_waiting() -> None:
    """R-EX-2."""
    Status = callback.Status  # noqa: N806 - a class
    async with MemoryBackend() as backend:
        wf = callback.builder.build(backend)  # a callback needs no worker
        run_id = await wf.trigger("signup")
        await wf.callback("signup", Status.WAITING, b'{"confirmed": false}')
        assert (await wf.get(run_id)).version == 1
        await wf.callback("signup", Status.WAITING, b'{"confirmed": true}')
        assert (await wf.get(run_id)).object.confirmed
        with pytest.raises(NotWaiting):
            await wf.callback("signup", Status.WAITING, b'{"confirmed": true}')


async def test_a_timeout_holds_the_time_of_the_clock() -> None:
    """R-EX-3."""
    assert (await timeout.main()).expired_at == datetime(2025, 1, 1, 1, tzinfo=UTC)


async def test_a_schedule_starts_a_run_each_hour() -> None:
    """R-EX-4."""
    assert len(set(await schedule.main())) == 2


async def test_a_schedule_starts_nothing_before_its_hour() -> None:
    """R-EX-4."""
    clock = FakeClock()
    async with MemoryBackend() as backend, schedule.builder.build(backend, clock=clock).running() as wf:
        clock.advance(timedelta(minutes=59))
        run_id = await wf.trigger("another-report")
        await wf.wait_for("another-report", schedule.Status.REPORTED, run_id=run_id, timeout=PATIENCE)
        with pytest.raises(RecordNotFound):
            await wf.latest("hourly-report")
        clock.advance(timedelta(minutes=1))
        run = await wf.wait_for("hourly-report", schedule.Status.REPORTED, timeout=PATIENCE)
        assert run.created_at == datetime(2025, 1, 1, 1, tzinfo=UTC)


async def test_a_connector_starts_runs() -> None:
    """R-EX-5."""
    assert await connector.main() == [connector.User(uid="1", welcomed=True), connector.User(uid="2", welcomed=True)]


async def test_orders_branch_retry_and_refund() -> None:
    """R-EX-6."""
    assert await order_processor.main() == {
        "order-1": "FULFILLED by card",
        "order-2": "FULFILLED by invoice",
        "order-3": "REFUNDED by card",
    }


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", logger="orders")
    return caplog


async def processed(order: Order, told: pytest.LogCaptureFixture) -> Run[Order, order_processor.Status]:
    """The run of one order, once it has ended and its hook has been called."""
    async with MemoryBackend() as backend, order_processor.builder.build(backend).running() as wf:
        run_id = await wf.trigger(order.order_id, order)
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while not any(record.name == "orders" for record in told.records):
                await asyncio.sleep(0.01)
        return await wf.get(run_id)


ITEM = order_processor.Item(sku="cup", quantity=2, price=10)
ENDS = [
    # A declined card is tried three times by save_and_repeat, then the order is paid by invoice.
    (Order(order_id="order-2", amount=1500), "FULFILLED", 3, "card declined, paid by invoice"),
    (Order(order_id="order-2", amount=1500, method="invoice"), "FULFILLED", 1, None),
    (Order(order_id="order-3", amount=20, items=[ITEM], stock="out"), "REFUNDED", 1, "refunded 20"),
    (Order(order_id="order-4", amount=20, items=[ITEM], stock="later"), "REFUNDED", 1, "not restocked in time"),
    (
        Order(order_id="order-5", amount=99, items=[ITEM]),
        "REJECTED",
        0,
        "rejected: the items cost 20, the order says 99",
    ),
]


@pytest.mark.parametrize(("order", "status", "tries", "note"), ENDS, ids=[note or "plain" for *_, note in ENDS])
async def test_an_order_ends_where_it_should_and_the_customer_is_told(
    order: Order, status: str, tries: int, note: str | None, told: pytest.LogCaptureFixture
) -> None:
    """R-EX-6."""
    run = await processed(order, told)
    assert (run.status.name, run.run_state) == (status, RunState.COMPLETED)
    assert run.object.payment_tries == tries
    assert (note in run.object.notes) if note else not run.object.notes
    assert f"order {order.order_id} ended as {status}" in told.messages


async def test_a_lost_order_is_cancelled_by_its_step_and_support_is_told(told: pytest.LogCaptureFixture) -> None:
    """R-EX-6."""
    run = await processed(Order(order_id="order-6", amount=20, stock="lost"), told)
    assert (run.status, run.run_state) == (order_processor.Status.PAID, RunState.CANCELLED)
    assert "order order-6 cancelled: lost in the warehouse" in told.messages


async def test_a_payment_that_fails_at_first_is_tried_again_and_counted_once(told: pytest.LogCaptureFixture) -> None:
    """R-EX-6."""
    name = next(f"order-{number}" for number in range(100) if unlucky(f"order-{number}"))
    run = await processed(Order(order_id=name, amount=20), told)
    assert (run.status.name, run.object.payment_tries) == ("FULFILLED", 1)
    assert run.version == 5  # placed, validated, the failed attempt, paid, fulfilled


async def test_restocked_orders_are_fulfilled_by_the_callback(told: pytest.LogCaptureFixture) -> None:
    """R-EX-6."""
    Status = order_processor.Status  # noqa: N806 - a class
    clock = FakeClock()
    async with MemoryBackend() as backend:
        wf = order_processor.builder.build(backend, clock=clock)
        async with wf.running():
            await wf.trigger("order-7", Order(order_id="order-7", amount=20, stock="later"))
            await wf.wait_for("order-7", Status.BACKORDERED, timeout=PATIENCE)
            await wf.callback("order-7", Status.BACKORDERED, b"0")
            await wf.callback("order-7", Status.BACKORDERED, b"12")
            await wf.wait_for("order-7", Status.FULFILLED, timeout=PATIENCE)


@pytest.mark.parametrize("name", ["callback", "connector", "getting_started", "order_processor", "schedule", "timeout"])
def test_an_example_runs_as_a_program(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"examples.{name}"]
    environment = {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout
    assert not ended.stderr


def test_the_demo_survives_two_kills_and_shows_what_it_promises() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "examples.demo"], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert not ended.stderr
    shown = ended.stdout
    assert "  line 11: amount = 'a lot': expected `int`, got `str`" in shown
    assert shown.count("killed with -9") == 2
    # It shows progress on the way, before the first kill and after the second.
    first, *_, last = shown.split("killed with -9")
    assert "orders ended" in first
    assert "383 of 383 orders ended" in last
    counts = {name: int(count) for name, count in re.findall(r"^  ([A-Z]+) +(\d+)$", shown, re.MULTILINE)}
    assert sum(counts.values()) == 383
    assert counts.keys() == {"FULFILLED", "REFUNDED", "REJECTED", "CANCELLED"}
    assert "383 acknowledgements, 0 violations" in shown
    assert shown.index("Nothing lost, nothing twice.") < shown.index("stateDiagram-v2")


def test_the_demo_says_what_is_missing(tmp_path: Path) -> None:
    for name in ("demo.py", "order_processor.py", "read_orders.py", "__init__.py"):
        folder = tmp_path / "examples"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes((ROOT / "examples" / name).read_bytes())
    command = [sys.executable, "-m", "examples.demo"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "orders.jsonl is missing" in ended.stderr
    bare = subprocess.run([command[0], "-S", *command[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert bare.returncode == 1
    assert "`make demo` installs what it needs" in bare.stderr
