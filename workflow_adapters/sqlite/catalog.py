"""Published definitions in a table."""

import sqlite3
import time
from collections.abc import Sequence

import msgspec

from workflow.protocols import Catalog, PublishedWorkflow, WorkflowInfo

from ..kit.text import check_text
from .database import Database
from .rows import encode, moment

_decode = msgspec.msgpack.Decoder(WorkflowInfo).decode

FORGOTTEN = 24 * 3600 * 1_000_000
"""Microseconds after which a definition that is not published any more goes, if there is a newer one of its name."""

PUBLISH = """
insert into catalog (workflow_name, fingerprint, first, last, info) values (?, ?, ?, ?, ?)
on conflict do update set last = max(last, excluded.last), info = excluded.info
"""
FORGET = "delete from catalog where workflow_name = ? and fingerprint <> ? and last < ?"
ALL = "select first, last, info from catalog order by workflow_name, last desc"


class SQLiteCatalog(Catalog):
    """The catalog of a file."""

    def __init__(self, database: Database) -> None:
        self._catalog_file = database

    async def publish(self, info: WorkflowInfo) -> None:
        """Keep the definition, and note the time."""
        check_text("name", info.name)
        await self._catalog_file.write(lambda c: _publish(c, info), lazy=True)

    async def workflows(self) -> Sequence[PublishedWorkflow]:
        """Every definition, by name, the one published last first."""
        rows = await self._catalog_file.read(lambda c: c.execute(ALL).fetchall())
        return [
            PublishedWorkflow(info=_decode(info), first_at=moment(first), last_at=moment(last))
            for first, last, info in rows
        ]


def _publish(connection: sqlite3.Connection, info: WorkflowInfo) -> None:
    now = time.time_ns() // 1000
    connection.execute(PUBLISH, (info.name, info.fingerprint, now, now, encode(info)))
    connection.execute(FORGET, (info.name, info.fingerprint, now - FORGOTTEN))
