"""The one table of backends: it feeds the conformance kit, unit and end-to-end tests, and the benchmarks.

Knows no pytest. A difference between backends is declared in `lacks`, with the reason; nothing is skipped without one.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workflow_adapters.conformance import Factory


class MissingService(Exception):
    """A backend of the table needs a server whose address is not known."""


@dataclass(frozen=True)
class Entry:
    """One line of the table.

    Attributes:
        name: how tests and benchmarks call it.
        make: gives a factory on fresh, empty storage, which may use the directory it is handed.
        service: the server it needs, or "none".
    """

    name: str
    make: Callable[[Path], Factory]
    service: str = "none"


def postgres_url() -> str:
    """The address of the Postgres server to test against.

    Raises:
        MissingService: there is none; tests then fail, they are never skipped.
    """
    url = os.environ.get("WORKFLOW_POSTGRES_URL", "")
    if not url:
        raise MissingService(
            "WORKFLOW_POSTGRES_URL is not set: run `make test`, which starts a server, or `make services` and export "
            "what it prints; or choose other backends with `pytest --backends memory,sqlite`"
        )
    return url


def _memory(directory: Path) -> Factory:
    from tests.factories.memory import MemoryFactory

    return MemoryFactory()


def _sqlite(directory: Path) -> Factory:
    from tests.factories.sqlite import SQLiteFactory

    return SQLiteFactory(directory)


def _postgres(directory: Path) -> Factory:
    from tests.factories.postgres import PostgresFactory

    return PostgresFactory(postgres_url())


BACKENDS = (
    Entry("memory", _memory),
    Entry("sqlite", _sqlite),
    Entry("postgres", _postgres, service="postgres"),
)


def entry(name: str) -> Entry:
    """The line of the table with this name."""
    return next(entry for entry in BACKENDS if entry.name == name)
