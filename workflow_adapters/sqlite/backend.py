"""The four ports on one file."""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from workflow.protocols import Backend

from .database import Database
from .events import SQLiteEventStreamer
from .record_store import SQLiteRecordStore
from .roles import SQLiteRoleScheduler
from .timeouts import SQLiteTimeoutStore


class SQLiteBackend(Backend):
    """Durable, without a server: everything in one SQLite file, shared by the processes of one machine.

    Every acknowledged write survives kill -9 and power loss (WAL, synchronous=FULL). Not for network file systems.
    If it is deleted or replaced while it is open, every call is `Unavailable` until it is back, or the backend is left.
    A process that forks opens a backend of its own in the child. Erased data is gone from every table, and from the
    bytes of the file and its log within seconds, as soon as no other process reads what was there before.

    Args:
        path: the file; made if it does not exist, its directory is not. A `file:` URI is a ValueError.
        lease_time: how long after a process died others wait before they take over its roles.
        retention: how long events are kept after all consumers have read them.
        release: of the program that uses the backend; left out, the environment variable WORKFLOW_RELEASE.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        lease_time: timedelta = timedelta(seconds=10),
        retention: timedelta = timedelta(days=7),
        release: str | None = None,
    ) -> None:
        if os.fspath(path) == ":memory:":
            raise ValueError("SQLiteBackend needs a file, which its connections share; use MemoryBackend")
        if os.fspath(path).startswith("file:"):
            raise ValueError(f"SQLiteBackend needs the path of a file, not a URI: {os.fspath(path)!r}")
        # Absolute, so that a change of the working directory does not lead to another file.
        self._database = Database(Path(path).absolute())
        super().__init__(
            SQLiteRecordStore(self._database),
            SQLiteEventStreamer(self._database, retention),
            SQLiteRoleScheduler(self._database, lease_time, release),
            SQLiteTimeoutStore(self._database),
            release=release,
        )

    def parts(self) -> Sequence[object]:
        """The open file first, and so closed last."""
        return (self._database, *super().parts())
