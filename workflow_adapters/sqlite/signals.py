"""Wake-ups: within the process by calls, between processes on one machine by datagrams.

Each process binds a unix datagram socket in a directory that belongs to the file, and sends one byte to the others
after a commit they may care about. Nothing depends on it: the database also looks now and then whether it has changed.

A store that offers wake-ups keeps what `local_wake_ups` returns and has its `subscribe` return that one's. It writes
with `wakes=[(kind.value, workflow_name), …]`; nothing else is to be done.
"""

import asyncio
import hashlib
import os
import socket
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from workflow.protocols import WakeUp

from ..kit.wake_ups import LocalWakeUps

KINDS = ("outbox", "events", "timeouts", "roles", WakeUp.HELD_CALLBACKS.value)
"""What may be signalled; a datagram holds the index. Processes of an older release ignore an index they do not know."""
DEBOUNCE = 0.002
"""Seconds in which signals of one kind to other processes are joined into one."""
SAFETY_NET = 1.0
"""Seconds between looks for what was not signalled: a datagram may be lost."""
WITHOUT_DATAGRAMS = 0.05
"""Seconds between looks where there are no datagrams."""
SPACING = 0.005
"""Least seconds between two looks of one subscriber: each look of the relay is a transaction that others wait for."""
BINDINGS = 5
"""Tries to join a directory that is being removed."""
SETTLED = 0.1
"""Seconds after which a directory's time of change tells apart what came before from what came after."""


class Signals:
    """The wake-ups of one file in one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hears: dict[str, list[Callable[[str | None], None]]] = {}
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

    def on(self, kind: str, hear: Callable[[str | None], None]) -> None:
        """Call `hear` with the key of each signal of this kind; with None when any may be meant."""
        self._hears.setdefault(kind, []).append(hear)

    def send(self, kind: str, key: str = "") -> None:
        """Wake those that wait for this kind and key, here at once and elsewhere within milliseconds."""
        for hear in self._hears.get(kind, ()):
            hear(key)
        if self._socket is None or self._loop is None:
            return
        if not self._pending:
            self._loop.call_later(DEBOUNCE, self._send_pending)
        self._pending.add(kind)

    def wake_all(self, *kinds: str) -> None:
        """Wake all that wait here for these kinds."""
        for kind in kinds:
            for hear in self._hears.get(kind, ()):
                hear(None)

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
                # A process that joins within the clock's grain of this change would go unnoticed.
                self._peers_as_of = changed if time.time_ns() - changed > SETTLED * 1e9 else -1
        except OSError:
            return []
        return self._peers


def local_wake_ups(signals: Signals, *kinds: WakeUp) -> LocalWakeUps:
    """The subscriptions of a store that offers these kinds. The look at the changed file is their safety net."""
    wake_ups = LocalWakeUps(kinds, spacing=SPACING)
    for kind in kinds:
        signals.on(kind.value, partial(wake_ups.wake, kind))
    return wake_ups


def _bind(receiving: socket.socket, path: Path) -> Path | None:
    """Where the socket is bound; None where that is not possible."""
    for _ in range(BINDINGS):
        try:
            own = _directory(path) / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
            receiving.bind(str(own))
        except FileNotFoundError:
            # The process that left last removed the directory at this very moment.
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
    # A directory of another user would let that user watch and wake this process.
    if directory.stat().st_uid != os.getuid():
        raise PermissionError(f"{directory} belongs to another user")
    return directory
