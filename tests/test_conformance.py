"""Every backend of the table against every case of the conformance kit; nothing else."""

import pytest

from workflow_adapters.conformance import CASES, Case, Factory, run


@pytest.mark.usefixtures("declared")
async def test_conformance(case: Case, factory: Factory) -> None:
    """Proves the rows and rules that each case names (`Case.proves`)."""
    await run(case, factory)


def test_every_port_has_cases_and_every_case_names_what_it_proves() -> None:
    ports = {case.port for case in CASES}
    assert ports == {"records", "outbox", "events", "roles", "timeouts", "connectors"}
    assert all(case.proves for case in CASES)
