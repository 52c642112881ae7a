"""Wake-ups: within the process by calls, between processes on one machine by datagrams.

Each process binds a unix datagram socket in a directory that belongs to the file, and sends one byte to the others
after a commit they may care about. Nothing depends on it: the database also looks now and then whether it has changed,
and more often where there is no directory that is safe to use.

A store that offers wake-ups keeps what `local_wake_ups` returns and has its `subscribe` return that one's. It writes
with `wakes=[(kind.value, workflow_name), …]`; nothing else is to be done.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from workflow.protocols import WakeUp

from ..kit.wake_ups import LocalWakeUps
from .meeting_place import MeetingPlace

_log = logging.getLogger("workflow.sqlite")

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


class Signals:
    """The wake-ups of one file in one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hears: dict[str, list[Callable[[str | None], None]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: socket.socket | None = None
        self._place: MeetingPlace | None = None
        self._pending: set[str] = set()

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen to other processes."""
        self._loop = loop
        if not hasattr(socket, "AF_UNIX"):
            return
        try:
            self._socket, self._place = MeetingPlace.join(self._path)
        except OSError as error:
            # Without datagrams looking often has to do.
            _log.warning("no wake-ups from other processes, looking every %g s instead: %s", WITHOUT_DATAGRAMS, error)
            return
        loop.add_reader(self._socket.fileno(), self._receive)

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
        if self._place is not None:
            self._place.leave()
        self._socket = self._place = self._loop = None

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
        if self._socket is None or self._place is None or not kinds:
            return
        message = bytes(KINDS.index(kind) for kind in kinds)
        for other in self._place.others():
            try:
                self._socket.sendto(message, self._place.address(other))
            except ConnectionRefusedError:
                # Its process is gone and could not tidy up.
                self._place.remove(other)
            except OSError:
                # Full or vanished: it looks by itself soon.
                continue


def local_wake_ups(signals: Signals, *kinds: WakeUp) -> LocalWakeUps:
    """The subscriptions of a store that offers these kinds. The look at the changed file is their safety net."""
    wake_ups = LocalWakeUps(kinds, spacing=SPACING)
    for kind in kinds:
        signals.on(kind.value, partial(wake_ups.wake, kind))
    return wake_ups
