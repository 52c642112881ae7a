"""The pytest plugin in somebody else's project: found by its entry point, under each way to run async tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

WORKFLOW = """
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Literal

from workflow import Builder, Run


class Status(IntEnum):
    OFFERED = 1
    EXPIRED = 2


@dataclass
class Offer:
    expired_at: datetime | None = None


builder = Builder("offers", Offer, Status)


@builder.timeout(Status.OFFERED, timedelta(days=1))
async def expire(run: Run[Offer, Status], now: datetime) -> Literal[Status.EXPIRED]:
    run.object.expired_at = now
    return Status.EXPIRED
"""

TESTS = """
from datetime import timedelta

import pytest
from shop import Offer, Status, builder

from workflow import RecordNotFound
from workflow.testing import FakeClock, await_timeout_insert, require

{mark}

async def test_an_offer_expires(fake_clock, memory_backend, run_workflow):
    wf = builder.build(memory_backend, clock=fake_clock)
    async with memory_backend, run_workflow(wf) as running:
        assert running is wf
        run_id = await wf.trigger("offer-1")
        await await_timeout_insert(wf, "offer-1", run_id, Status.OFFERED)
        fake_clock.advance(timedelta(days=1))
        await require(wf, "offer-1", Status.EXPIRED, Offer(expired_at=fake_clock.now()))
    assert {{str(state) for state in wf.states().values()}} == {{"Shutdown"}}


async def test_each_test_has_its_own(fake_clock, memory_backend):
    assert fake_clock.now() == FakeClock().now()
    with pytest.raises(RecordNotFound):
        await builder.build(memory_backend).latest("offer-1")


async def test_a_wrong_expectation_fails(memory_backend, run_workflow):
    async with memory_backend, run_workflow(builder.build(memory_backend)) as wf:
        await wf.trigger("offer-1")
        await require(wf, "offer-1", Status.OFFERED, Offer(expired_at=FakeClock().now()))
"""

WAYS = {
    "asyncio-auto": ("", "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function", ()),
    "asyncio-strict": ("pytestmark = pytest.mark.asyncio", "asyncio_default_fixture_loop_scope = function", ()),
    "anyio": (
        'pytestmark = pytest.mark.anyio\n\n@pytest.fixture\ndef anyio_backend(): return "asyncio"',
        "",
        ("-p", "no:asyncio"),
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_fixtures_work_in_another_project(way: str, tmp_path: Path) -> None:
    mark, settings, arguments = WAYS[way]
    (tmp_path / "shop.py").write_text(WORKFLOW)
    (tmp_path / "test_shop.py").write_text(TESTS.format(mark=mark))
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\npythonpath = .\n{settings}\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert re.search(r"1 failed, 2 passed", ended.stdout), ended.stdout + ended.stderr
    assert "AssertionError: 'offer-1' reached <Status.OFFERED: 1> with Offer(expired_at=None), expected" in ended.stdout
    assert "plugins: " in ended.stdout
    assert "workflow-asyncio-" in ended.stdout


def test_the_fixtures_describe_themselves(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--fixtures", "-p", "no:cacheprovider", "-q"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    for name, says in (
        ("fake_clock", "A clock that stands at 2025-01-01 00:00 UTC until the test moves it."),
        ("memory_backend", "A backend of its own for each test, in memory."),
        ("run_workflow", "Runs a workflow inside"),
    ):
        assert re.search(rf"^{name}\b.*\n +{re.escape(says)}", ended.stdout, re.MULTILINE), ended.stdout[-2000:]
