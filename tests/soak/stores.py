"""Where a soak keeps its runs: a Postgres schema, or an SQLite file."""

from datetime import timedelta

from workflow.protocols import Backend
from workflow_adapters.postgres import PostgresBackend
from workflow_adapters.sqlite import SQLiteBackend

__all__ = ["opened"]


def opened(store: str, schema: str, lease_time: float) -> Backend:
    """A backend, not entered yet.

    Args:
        store: the URL of a Postgres server, or the path of an SQLite file.
        schema: of no importance to SQLite.
        lease_time: in seconds.
    """
    lease = timedelta(seconds=lease_time)
    if store.startswith("postgres"):
        return PostgresBackend(store, schema=schema, lease_time=lease)
    return SQLiteBackend(store, lease_time=lease)
