"""Wake-ups: within the process in memory, between processes on one machine by datagrams.

Each process binds a unix datagram socket in a directory that belongs to the file, and sends one byte to the others
after a commit they may care about. Nothing depends on it: the database also looks now and then whether it has changed.
"""

import asyncio
import hashlib
import os
import socket
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

from ..memory.signal import Signal

KINDS = ("outbox", "events", "timeouts", "roles")
"""What may be signalled; a datagram holds the index."""
DEBOUNCE = 0.002
"""Seconds in which signals of one kind to other processes are joined into one."""
SAFETY_NET = 1.0
"""Seconds between looks for what was not signalled: a datagram may be lost."""
WITHOUT_DATAGRAMS = 0.05
"""Seconds between looks where there are no datagrams."""
BINDINGS = 5
"""Tries to join a directory that is being removed."""
SETTLED = 0.1
"""Seconds after which a directory's time of change tells apart what came before from what came after."""


class Signals:
    """The wake-ups of one file in one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local: dict[tuple[str, str], Signal] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: socket.socket | None = None
        self._own: Path | None = None
        self._pending: set[str] = set()
        self._peers: list[str] = []
        self._peers_as_of = -1

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen to other processes."""
        self._loop = loop
        if not hasattr(socket, "AF_UNIX"):
            return
        receiving = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiving.setblocking(False)
        own = _bind(receiving, self._path)
        if own is None:
            # Without datagrams looking often has to do.
            receiving.close()
            return
        self._socket, self._own = receiving, own
        loop.add_reader(receiving.fileno(), self._receive)

    @property
    def look_every(self) -> float:
        """Seconds between looks whether the file has changed without a signal."""
        return WITHOUT_DATAGRAMS if self._socket is None else SAFETY_NET

    def close(self) -> None:
        """Tell the others what they do not know yet, and stop listening."""
        self._send_pending()
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        if self._own is not None:
            self._own.unlink(missing_ok=True)
            with suppress(OSError):  # others are still in it
                self._own.parent.rmdir()
        self._socket = self._own = self._loop = None

    def signal(self, kind: str, key: str = "") -> Signal:
        """What is set when something of this kind, about this key, was written."""
        return self._local.get((kind, key)) or self._local.setdefault((kind, key), Signal())

    def send(self, kind: str, key: str = "") -> None:
        """Wake whoever waits for this kind and key, here at once and elsewhere within milliseconds."""
        self.signal(kind, key).set()
        if self._socket is None or self._loop is None:
            return
        if not self._pending:
            self._loop.call_later(DEBOUNCE, self._send_pending)
        self._pending.add(kind)

    def wake_all(self, *kinds: str) -> None:
        """Wake all who wait here for these kinds."""
        for (kind, _), signal in self._local.items():
            if kind in kinds:
                signal.set()

    async def wait(self, kind: str, key: str, seen: int) -> int:
        """Return the count of the signal once it is beyond `seen`."""
        signal = self.signal(kind, key)
        await signal.wait_beyond(seen)
        return signal.count

    def _receive(self) -> None:
        assert self._socket is not None
        kinds: set[int] = set()
        while True:
            try:
                kinds.update(self._socket.recv(16))
            except OSError:
                break
        if known := [KINDS[index] for index in kinds if index < len(KINDS)]:
            self.wake_all(*known)

    def _send_pending(self) -> None:
        kinds, self._pending = self._pending, set()
        if self._socket is None or self._own is None or not kinds:
            return
        message = bytes(KINDS.index(kind) for kind in kinds)
        for other in self._others(self._own):
            try:
                self._socket.sendto(message, other)
            except ConnectionRefusedError:
                # Its process is gone and could not tidy up.
                Path(other).unlink(missing_ok=True)
            except OSError:
                # Full or vanished: it looks by itself soon.
                continue

    def _others(self, own: Path) -> list[str]:
        """The sockets of the other processes; the directory is read only when it has changed."""
        try:
            changed = own.parent.stat().st_mtime_ns
            if changed != self._peers_as_of:
                self._peers = [str(other) for other in own.parent.iterdir() if other != own]
                # Who joins within the clock's grain of this change would go unnoticed.
                self._peers_as_of = changed if time.time_ns() - changed > SETTLED * 1e9 else -1
        except OSError:
            return []
        return self._peers


def _bind(receiving: socket.socket, path: Path) -> Path | None:
    """Where the socket is bound; None where that is not possible."""
    for _ in range(BINDINGS):
        try:
            own = _directory(path) / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
            receiving.bind(str(own))
        except FileNotFoundError:
            # Whoever left last removed the directory at this very moment.
            continue
        except OSError:
            return None
        return own
    return None


def _directory(path: Path) -> Path:
    """A directory for this file and this user, with a path short enough for a socket in it (107 bytes on Linux)."""
    key = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
    directory = Path(tempfile.gettempdir()) / f"workflow-{os.getuid()}-{key}"
    directory.mkdir(mode=0o700, exist_ok=True)
    # Somebody else's directory would let them watch and wake us.
    if directory.stat().st_uid != os.getuid():
        raise PermissionError(f"{directory} belongs to another user")
    return directory
