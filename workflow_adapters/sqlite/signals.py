"""Wake-ups: within the process in memory, between processes on one machine by datagrams.

Each process binds a unix datagram socket in a directory that belongs to the file, and sends one byte to the others
after a commit they may care about. Nothing depends on it: whoever waits also looks now and then.
"""

import asyncio
import hashlib
import os
import socket
import tempfile
import uuid
from pathlib import Path

from ..memory.signal import Signal

KINDS = ("outbox", "events", "timeouts", "roles")
"""What may be signalled; a datagram holds the index."""
DEBOUNCE = 0.002
"""Seconds in which signals of one kind to other processes are joined into one."""
SAFETY_NET = 1.0
"""Seconds after which whoever waits looks without a signal: a datagram may be lost, or unsupported here."""


class Signals:
    """The wake-ups of one file in one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.local = {kind: Signal() for kind in KINDS}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: socket.socket | None = None
        self._own: Path | None = None
        self._pending: set[str] = set()

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen to other processes."""
        self._loop = loop
        if not hasattr(socket, "AF_UNIX"):
            return
        directory = self._directory()
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            own = directory / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
            receiving = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            receiving.setblocking(False)
            receiving.bind(str(own))
        except OSError:
            # Without datagrams the safety net remains.
            return
        self._socket, self._own = receiving, own
        loop.add_reader(receiving.fileno(), self._receive)

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        if self._own is not None:
            self._own.unlink(missing_ok=True)
        self._socket = self._own = self._loop = None

    def send(self, kind: str) -> None:
        """Wake whoever waits for `kind`, here at once and elsewhere within milliseconds."""
        self.local[kind].set()
        if self._socket is None or self._loop is None:
            return
        if not self._pending:
            self._loop.call_later(DEBOUNCE, self._send_pending)
        self._pending.add(kind)

    async def wait(self, kind: str, seen: int) -> int:
        """Return the count of `kind` once it is beyond `seen`, or after the safety net's time."""
        signal = self.local[kind]
        try:
            async with asyncio.timeout(SAFETY_NET):
                await signal.wait_beyond(seen)
        except TimeoutError:
            pass
        return signal.count

    def _directory(self) -> Path:
        key = hashlib.sha256(str(self._path.resolve()).encode()).hexdigest()[:16]
        user = os.getuid() if hasattr(os, "getuid") else 0
        return Path(tempfile.gettempdir()) / f"workflow-{user}-{key}"

    def _receive(self) -> None:
        assert self._socket is not None
        kinds: set[int] = set()
        while True:
            try:
                kinds.update(self._socket.recv(16))
            except OSError:
                break
        for index in kinds:
            if index < len(KINDS):
                self.local[KINDS[index]].set()

    def _send_pending(self) -> None:
        kinds, self._pending = self._pending, set()
        if self._socket is None or self._own is None:
            return
        message = bytes(KINDS.index(kind) for kind in kinds)
        for other in list(self._own.parent.iterdir()):
            if other == self._own:
                continue
            try:
                self._socket.sendto(message, str(other))
            except ConnectionRefusedError:
                # Its process is gone and could not tidy up.
                other.unlink(missing_ok=True)
            except OSError:
                # Full or vanished: it looks by itself soon.
                continue
