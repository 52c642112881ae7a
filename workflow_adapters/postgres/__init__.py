"""Postgres for production: records, outbox, events, timeouts and roles in one schema."""

try:
    import asyncpg as _asyncpg
except ImportError as error:
    raise ImportError(
        "workflow_adapters.postgres needs the asyncpg driver: pip install 'workflow-asyncio[postgres]'"
    ) from error
del _asyncpg

from .backend import PostgresBackend  # noqa: E402 - after the driver was found
from .retention import Retention  # noqa: E402
from .schema import SchemaAhead, SchemaBehind, SchemaForeign  # noqa: E402

__all__ = ["PostgresBackend", "Retention", "SchemaAhead", "SchemaBehind", "SchemaForeign"]
