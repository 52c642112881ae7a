"""Every example runs, and does what it says (R-EX-1 to R-EX-6)."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from examples import callback, connector, getting_started, order_processor, schedule, timeout


async def test_getting_started_ticks_every_field(tmp_path: Path) -> None:
    """R-EX-1."""
    guide = await getting_started.main(str(tmp_path / "runs.db"))
    assert guide == getting_started.Guide(docs_read=True, example_run=True, done=True)


async def test_a_callback_confirms() -> None:
    """R-EX-2."""
    assert (await callback.main()).confirmed


async def test_a_timeout_holds_the_time_of_the_clock() -> None:
    """R-EX-3."""
    assert (await timeout.main()).expired_at == datetime(2025, 1, 1, 1, tzinfo=UTC)


async def test_a_schedule_starts_a_run_each_hour() -> None:
    """R-EX-4."""
    assert len(set(await schedule.main())) == 2


async def test_a_connector_starts_runs() -> None:
    """R-EX-5."""
    assert [user.uid for user in await connector.main()] == ["1", "2"]


async def test_orders_branch_retry_and_refund() -> None:
    """R-EX-6."""
    assert await order_processor.main() == {
        "order-1": "FULFILLED by card",
        "order-2": "FULFILLED by invoice",
        "order-3": "REFUNDED by card",
    }


def test_the_demo_survives_two_kills() -> None:
    ended = subprocess.run([sys.executable, "-m", "examples.demo"], capture_output=True, text=True, timeout=110)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("killed with -9") == 2
    assert "Nothing lost, nothing twice." in ended.stdout
