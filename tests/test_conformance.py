"""Every backend of the table against every case of the conformance kit; nothing else."""

from pathlib import Path

import pytest

from workflow_adapters.conformance import CASES, Capability, Case, Factory, run

PAGE = Path(__file__).parents[1] / "docs" / "writing_an_adapter.md"


@pytest.mark.usefixtures("declared")
async def test_conformance(case: Case, factory: Factory) -> None:
    """Proves the rows and rules that each case names (`Case.proves`)."""
    await run(case, factory)


def test_every_port_has_cases_and_every_case_names_what_it_proves() -> None:
    ports = {case.port for case in CASES}
    assert ports == {"records", "outbox", "events", "roles", "timeouts", "connectors"}
    assert all(case.proves for case in CASES)


def test_the_page_for_authors_says_what_each_capability_means() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    for capability in Capability:
        assert sum(row.startswith(f"| `{capability.name}` | {capability.value} |") for row in rows) == 1, capability
