"""The conformance kit can fail: each fault makes exactly the cases fail that name it, on a backend otherwise right."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from tests.factories.memory import MemoryFactory
from tests.factories.sqlite import SQLiteFactory
from tests.faults import Wrapper, faulty
from tests.faults.fault import Fault
from tests.faults.table import FAULTS
from workflow_adapters.conformance import CASES, Case, Factory, Report, run

LIMIT = timedelta(seconds=5)
"""What waits for ever because of a fault is given up after this; cases that are right take far less."""

LIMIT_ON_FILES = timedelta(seconds=8)
"""The same where leases have to run out."""

PATIENCE = timedelta(minutes=1)
"""A case that no fault explains gets this long: it may have been late because the whole machine stood still."""

PORTS = {
    "record_store": ("records", "outbox"),
    "event_streamer": ("events",),
    "role_scheduler": ("roles",),
    "timeout_store": ("timeouts",),
}


async def _failed(
    make: Callable[[], Factory], cases: list[Case], expected: frozenset[str], limit: timedelta = LIMIT
) -> set[str]:
    """The cases that fail; those that nobody expects to fail are tried a second time, with patience."""
    failed = set((await _examined(make, cases, limit)).failed)
    odd = [case for case in cases if case.name in failed - expected]
    return (failed & expected) | set((await _examined(make, odd, PATIENCE)).failed)


async def _examined(make: Callable[[], Factory], cases: list[Case], limit: timedelta) -> Report:
    """Run these cases side by side: those that wait in vain then cost the limit once, not each."""
    report = Report()

    async def one(case: Case) -> None:
        factory = make()
        if missing := case.missing(factory):
            report.skipped[case.name] = missing
            return
        try:
            await run(case, factory, limit=limit)
        except Exception as error:  # noqa: BLE001 - whatever a fault provokes is what is compared
            report.failed[case.name] = error
        else:
            report.passed.append(case.name)
        finally:
            await factory.close()

    await asyncio.gather(*(one(case) for case in cases))
    # some faults are about tasks that nobody ends; they must not outlive the test that provoked them
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    return report


def _on_files(factory: Callable[[Path], Factory], directory: Path) -> Callable[[], Factory]:
    numbers = count()

    def make() -> Factory:
        own = directory / str(next(numbers))
        own.mkdir()
        return factory(own)

    return make


@pytest.mark.parametrize("chosen", FAULTS, ids=str)
async def test_a_fault_is_noticed_by_the_cases_that_name_it_and_by_no_other(chosen: Fault, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.port in PORTS[chosen.port]]
    if chosen.backend == "memory":
        failed = await _failed(faulty(MemoryFactory, chosen.port, chosen.wrap), cases, chosen.noticed_by)
    else:
        # what memory can do is examined there: here only what needs more
        cases = [case for case in cases if case.needs & set(MemoryFactory.lacks)]
        make = _on_files(faulty(SQLiteFactory, chosen.port, chosen.wrap), tmp_path)
        failed = await _failed(make, cases, chosen.noticed_by, LIMIT_ON_FILES)
    assert failed == chosen.noticed_by


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("backend", ["memory", "sqlite"])
async def test_a_wrapper_that_changes_nothing_is_not_a_fault(backend: str, port: str, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.port in PORTS[port]]
    if backend == "memory":
        report = await _examined(faulty(MemoryFactory, port, Wrapper), cases, PATIENCE)
    else:
        cases = [case for case in cases if case.needs & set(MemoryFactory.lacks)]
        report = await _examined(_on_files(faulty(SQLiteFactory, port, Wrapper), tmp_path), cases, PATIENCE)
    assert report.failed == {}
    assert report.passed


def test_every_fault_is_noticed_and_every_case_named_exists() -> None:
    assert all(chosen.noticed_by for chosen in FAULTS)
    assert {name for chosen in FAULTS for name in chosen.noticed_by} <= {case.name for case in CASES}


async def test_a_case_that_takes_too_long_is_a_failure() -> None:
    async def never(subject: object) -> None:
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match=r"not within 0\.05 s"):
        await run(Case(never, "records", ("none",), frozenset()), MemoryFactory(), limit=timedelta(seconds=0.05))
