"""Proof that an adapter keeps the contract of the ports, sentence by sentence; free of any test framework.

`CASES` holds every case. An author supplies a `Factory`, then either runs all of it with `examine`, or puts the cases
into a test runner of their own (`docs/writing_an_adapter.md` shows both).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta

from . import (
    backlogs,
    catalog,
    connectors,
    cursors,
    dead_letters,
    events,
    filters,
    held_callbacks,
    histories,
    listing,
    marks,
    membership,
    memos,
    model,
    outages,
    outbox,
    outbox_info,
    pages,
    races,
    records,
    resets,
    roles,
    sweeps,
    takes,
    timeouts,
    transactions,
    verdicts,
    wake_ups,
)
from ._kit import CASE_LIMIT, Capability, Case, Emptying, Factory, Subject, opened, registered, run

__all__ = [
    "CASES",
    "CASE_LIMIT",
    "MODULES",
    "Capability",
    "Case",
    "Emptying",
    "Factory",
    "Report",
    "Subject",
    "examine",
    "opened",
    "run",
]

MODULES = (
    records,
    races,
    model,
    verdicts,
    takes,
    marks,
    listing,
    filters,
    pages,
    histories,
    sweeps,
    transactions,
    outbox,
    outbox_info,
    dead_letters,
    held_callbacks,
    catalog,
    memos,
    events,
    cursors,
    resets,
    backlogs,
    roles,
    membership,
    timeouts,
    wake_ups,
    connectors,
    outages,
)
"""Where the cases are, in the order in which to read them."""

CASES: tuple[Case, ...] = tuple(
    sorted(registered(), key=lambda case: [module.__name__ for module in MODULES].index(case.function.__module__))
)
"""Every case, in the order of `MODULES`."""


@dataclass
class Report:
    """What became of the cases on one backend.

    Attributes:
        passed: names of the cases that hold.
        failed: what went wrong, by case.
        skipped: the declared reasons, by case.
    """

    passed: list[str] = field(default_factory=list)
    failed: dict[str, BaseException] = field(default_factory=dict)
    skipped: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"]
        lines += [f"FAILED {name}: {error!r}" for name, error in self.failed.items()]
        lines += [f"SKIPPED {name}: {'; '.join(reasons)}" for name, reasons in self.skipped.items()]
        return "\n".join(lines)


async def examine(make: Callable[[], Factory], *, ports: Collection[str] = (), limit: timedelta = CASE_LIMIT) -> Report:
    """Run every case (of these ports, or of all), each on a factory of its own; nothing is raised but cancellation."""
    report = Report()
    for case in CASES:
        if ports and case.port not in ports:
            continue
        factory = make()
        try:
            if missing := case.missing(factory):
                report.skipped[case.name] = missing
                continue
            await run(case, factory, limit=limit)
        except Exception as error:  # noqa: BLE001 - whatever the adapter raised is what the report is about
            report.failed[case.name] = error
        else:
            report.passed.append(case.name)
        finally:
            await factory.close()
    return report
