"""The directory where the processes of one file have their sockets.

It lies in the directory for temporary files, which all users of the machine may write to, under a name that they can
guess. So it is used only if it is a directory itself, not a link to one, and this user's alone. What is listed and
removed in it is reached through the descriptor that was checked, whatever its name leads to later; only sockets are.
"""

import hashlib
import os
import socket
import stat
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Self

__all__ = ["MeetingPlace"]

JOININGS = 5
"""Tries to join a directory that is being removed."""
SETTLED = 0.1
"""Seconds after which a directory's time of change tells apart what came before from what came after."""


class MeetingPlace:
    """The directory, as one process has joined it."""

    def __init__(self, directory: Path, descriptor: int, own: str) -> None:
        self._directory, self._descriptor, self._own = directory, descriptor, own
        self._others: list[str] = []
        self._others_as_of = -1

    @classmethod
    def join(cls, path: Path) -> tuple[socket.socket, Self]:
        """A socket of this process that the others of this file find, and the place where it finds theirs.

        Raises:
            OSError: there is no such place, or it cannot be trusted.
        """
        directory = _directory(path)
        for _ in range(JOININGS):
            with suppress(FileNotFoundError):
                # Not found: the process that left last removed the directory at this very moment.
                return cls._join(directory)
        raise FileNotFoundError(f"{directory} is removed again and again")

    @classmethod
    def _join(cls, directory: Path) -> tuple[socket.socket, Self]:
        descriptor = _open(directory)
        own = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        receiving = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            receiving.setblocking(False)
            receiving.bind(str(directory / own))
            # It is in the directory that was checked, not in one that has its name now.
            os.stat(own, dir_fd=descriptor, follow_symlinks=False)
        except BaseException:
            receiving.close()
            os.close(descriptor)
            raise
        return receiving, cls(directory, descriptor, own)

    def leave(self) -> None:
        """Remove the own socket, and the directory with the last one."""
        self.remove(self._own)
        os.close(self._descriptor)
        with suppress(OSError):  # others are still in it
            self._directory.rmdir()

    def others(self) -> list[str]:
        """The names of the other processes' sockets; the directory is read only when it has changed."""
        try:
            changed = os.fstat(self._descriptor).st_mtime_ns
            if changed != self._others_as_of:
                names = os.listdir(self._descriptor)
                self._others = [name for name in names if name != self._own and self._is_socket(name)]
                # A process that joins within the clock's grain of this change would go unnoticed.
                self._others_as_of = changed if time.time_ns() - changed > SETTLED * 1e9 else -1
        except OSError:
            return []
        return self._others

    def address(self, name: str) -> str:
        """Where to send what is for this one."""
        return f"{self._directory}/{name}"

    def remove(self, name: str) -> None:
        """Remove a socket; whatever else has this name stays."""
        with suppress(OSError):
            if self._is_socket(name):
                os.unlink(name, dir_fd=self._descriptor)

    def _is_socket(self, name: str) -> bool:
        try:
            return stat.S_ISSOCK(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False


def _directory(path: Path) -> Path:
    """The name of the directory of this file and this user, short enough for a socket in it (107 bytes on Linux)."""
    key = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"workflow-{os.getuid()}-{key}"


def _open(directory: Path) -> int:
    """The directory's descriptor, made if needed.

    Raises:
        PermissionError: it is not this user's alone.
    """
    with suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    if not stat.S_ISDIR(os.lstat(directory).st_mode):
        raise PermissionError(f"{directory} is no directory, or a link to one")
    # The link that somebody puts in its place at this moment is not followed either.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    mode = stat.S_IMODE(found.st_mode) & 0o777  # set-group-ID comes from the directory above, and lets nobody in
    if found.st_uid == os.getuid() and mode == 0o700:
        return descriptor
    os.close(descriptor)
    if found.st_uid != os.getuid():
        raise PermissionError(f"{directory} belongs to another user")
    raise PermissionError(f"{directory} may be used by others (its mode is {mode:04o}, not 0700)")
