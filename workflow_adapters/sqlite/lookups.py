"""Questions about single runs."""

import sqlite3
from collections.abc import Sequence

from workflow.protocols import Record, Version

from ..kit.sizes import AT_ONCE
from .changes import LIVE, PRESENT
from .rows import RECORD, decode_version, record

LAST = f"""
select {RECORD} from present where workflow_name = ? and foreign_id = ? order by seq desc limit 1
"""  # noqa: S608
_RUN = "(select seq from runs where run_id = ?)"
HISTORY = f"select data from history where run = {_RUN} and version > ? order by version limit ?"  # noqa: S608
FIRST_AT = f"select min(version) from history where run = {_RUN} and status = ? and version >= ?"  # noqa: S608
FIND_ATTEMPT = f"select min(version) from history where run = {_RUN} and attempt_id = ?"  # noqa: S608


def lookup(connection: sqlite3.Connection, run_ids: Sequence[str]) -> tuple[dict[str, Record], int]:
    """The present records of the first of these, and of how many: it stops when it has read enough for once."""
    found: dict[str, Record] = {}
    size = asked = 0
    while asked < len(run_ids) and size < AT_ONCE:
        run_id = run_ids[asked]
        asked += 1
        row = connection.execute(PRESENT, (run_id,)).fetchone()
        if row is not None:
            found[run_id] = one = record(row)
            size += len(one.object)
    return found, asked


def latest(connection: sqlite3.Connection, workflow_name: str, foreign_id: str) -> Record | None:
    """The live run, else the last created."""
    key = (workflow_name, foreign_id)
    row = connection.execute(LIVE, key).fetchone() or connection.execute(LAST, key).fetchone()
    return None if row is None else record(row)


def history(connection: sqlite3.Connection, run_id: str, after: int, limit: int | None) -> list[Version]:
    """Versions above `after`."""
    rows = connection.execute(HISTORY, (run_id, after, -1 if limit is None else limit))
    return [decode_version(data) for (data,) in rows]


def first_version_at(connection: sqlite3.Connection, run_id: str, status: int, since: int) -> int | None:
    """The first version from `since` on that has this status."""
    found: int | None = connection.execute(FIRST_AT, (run_id, status, since)).fetchone()[0]
    return found


def find_attempt(connection: sqlite3.Connection, run_id: str, attempt_id: str) -> int | None:
    """The version that this attempt wrote."""
    found: int | None = connection.execute(FIND_ATTEMPT, (run_id, attempt_id)).fetchone()[0]
    return found
