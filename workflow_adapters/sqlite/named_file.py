"""Whether the file that is open is still the one that its name leads to.

A file that is deleted or replaced goes on without a name for whoever has it open: what is written there, and
acknowledged, nobody will find. SQLite does not look in WAL mode, so this does: the writing thread after each commit,
before anybody is answered (a few microseconds beside the fsync), and the safety net for a process that only reads.
The write-ahead log and its index are looked at too: commits are in the log until it is copied into the file.
"""

import logging
import os
import sqlite3
import threading
from pathlib import Path

from workflow.errors import Unavailable

from .schema import open_file

__all__ = ["NamedFile"]

_log = logging.getLogger("workflow.sqlite")

Inode = tuple[int, int]


class NamedFile:
    """A file under the names by which it was opened.

    Attributes:
        lost: why it cannot be used now; empty while its names lead to it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inodes: dict[str, Inode] = {}
        self._looking = threading.Lock()
        self.lost = ""

    def connect(self) -> sqlite3.Connection:
        """A connection to the file, the same file each time.

        Raises:
            Unavailable: it was replaced meanwhile, or others keep it locked.
            UnusableFile: see `open_file`.
        """
        before = _inode(str(self._path))
        connection = open_file(self._path)
        try:
            if not self._inodes:
                self._remember(before)
            if why := self.look():
                raise Unavailable(why)
        except BaseException:
            connection.close()
            raise
        return connection

    def _remember(self, before: Inode | None) -> None:
        # The log and its index lie beside the file itself, wherever a symbolic link to it is.
        real = os.path.realpath(self._path)
        inodes = {name: _inode(name) for name in (str(self._path), f"{real}-wal", f"{real}-shm")}
        if before is not None:
            inodes[str(self._path)] = before
        self._inodes = {name: inode for name, inode in inodes.items() if inode is not None}

    def look(self) -> str:
        """Look now: why the file cannot be used; empty if it can. Any thread may call this."""
        with self._looking:
            lost = self._look()
            if lost != self.lost:
                self.lost = lost
                if lost:
                    _log.error("%s; nothing is read or written until it is back", lost)
                else:
                    _log.warning("SQLite file %r is back, and is used again", str(self._path))
            return lost

    def _look(self) -> str:
        name = str(self._path)
        try:
            for name, inode in self._inodes.items():
                found = os.stat(name)
                if (found.st_dev, found.st_ino) != inode:
                    return f"SQLite file {name!r} was replaced while it was open"
        except (FileNotFoundError, NotADirectoryError):
            return f"SQLite file {name!r} was deleted or moved while it was open"
        except OSError as error:
            return f"SQLite file {name!r} cannot be looked at: {error.strerror}"
        return ""


def _inode(name: str) -> Inode | None:
    try:
        found = os.stat(name)
    except (OSError, ValueError):
        return None  # opening it tells what is wrong, or makes it
    return found.st_dev, found.st_ino
