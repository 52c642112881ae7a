"""Emptying the write-ahead log: what was erased from the file stands in it until it is written over."""

import sqlite3

__all__ = ["empty_log"]

PATIENCE = 0.05
"""Seconds to wait for readers; writers wait meanwhile."""


def empty_log(connection: sqlite3.Connection) -> bool:
    """Copy the log into the file and cut it off, in no transaction; False if somebody still reads it: try later."""
    (before,) = connection.execute("pragma busy_timeout").fetchone()
    connection.execute(f"pragma busy_timeout = {int(PATIENCE * 1000)}")
    try:
        (busy, _, _) = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
    finally:
        connection.execute(f"pragma busy_timeout = {int(before)}")
    return not busy
