"""Wake-ups between processes: sent after the commit, on connections of their own, and lossy by design.

A notification inside a transaction would serialise all commits of the database (it costs two thirds of the
throughput), so it is sent afterwards, at most twenty times a second, for everything that happened meanwhile. What is
lost with it is found by the safety net of its subscriber. Where the server cannot be listened to (behind a transaction
pooler), the numbers of the sequences tell that something was written.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable
from contextlib import suppress

from .connections import Connections
from .failures import LOST, described
from .lane import Lane
from .names import quoted

__all__ = ["SAFETY_NET", "Signals"]

SAFETY_NET = 5.0
"""Seconds after which a subscriber looks although it heard nothing: wake-ups may be lost."""

_SPACING = 0.05
"""Seconds between two notifications of one process."""

_LAST_WORD = 1.0
"""Seconds for the last notification of a process that leaves."""

_ALIVE_EVERY = 30.0
"""Seconds between looks at the listening connection: a half-open one says nothing of itself."""

_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 0.1, 5.0
_FASTEST_POLL, _SLOWEST_POLL = 0.05, 1.0
_POLL_AGAIN = 3
"""How often a change of the sequences is reported: they move before the commit does."""

_log = logging.getLogger("workflow.postgres")

_NOTIFY = "select pg_notify($1, payload) from unnest($2::text[]) as payload"

# A sequence says 1 before its first number is drawn and afterwards; `is_called` tells the two apart.
_NUMBERS = """
select (select last_value + is_called::integer from {schema}.outbox_id_seq),
    (select last_value + is_called::integer from {schema}.events_position_seq),
    (select last_value + is_called::integer from {schema}.held_callbacks_seq_seq),
    (select last_value + is_called::integer from {schema}.timeouts_written),
    (select sum(token) + count(*) filter (where holder = '') from {schema}.leases)
"""


class Signals:
    """Tells other processes what was written here, and hears what was written there.

    A signal is a kind and a name: outbox, timeouts or held_callbacks of a workflow; events and roles have no name.
    A process of another release may send kinds that this one does not know; they are ignored.

    A store that offers wake-ups keeps a `LocalWakeUps`, has `on(kind, …)` call its `wake`, and calls `send` after a
    write; the subscribers of this process it wakes itself.
    """

    def __init__(self, connections: Connections, sender: Lane, reader: Lane, *, schema: str, listen: bool) -> None:
        self._connections, self._sender, self._reader = connections, sender, reader
        self._channel, self._listen = f"workflow_{schema}"[:60], listen
        self._numbers_sql = _NUMBERS.replace("{schema}", quoted(schema))
        self._me = uuid.uuid4().hex[:12]
        self._hears: dict[str, Callable[[str | None], None]] = {}
        self._pending: set[str] = set()
        self._something = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def on(self, kind: str, hear: Callable[[str | None], None]) -> None:
        """Call `hear` with the name of each signal of this kind; with None when any may have been missed."""
        self._hears[kind] = hear

    def send(self, kind: str, name: str = "") -> None:
        """Tell the other processes, soon."""
        if self._listen:
            self._pending.add(f"{self._me} {kind} {name}")
            self._something.set()

    async def start(self) -> None:
        """Begin to send and to hear."""
        loops = [self._sending(), self._listening()] if self._listen else [self._polling()]
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        """End both, with a last word: others wait for the roles that were released just now."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._pending:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORD):
                    await self._send_pending()

    def _heard(self, kind: str, name: str | None) -> None:
        hear = self._hears.get(kind)
        if hear is not None:
            hear(name)

    def _heard_all(self) -> None:
        for hear in self._hears.values():
            hear(None)

    async def _sending(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            await self._send_pending()
            await asyncio.sleep(_SPACING)

    async def _send_pending(self) -> None:
        payloads, self._pending = self._pending, set()
        try:
            await self._sender.write(_NOTIFY, self._channel, list(payloads))
        except Exception as error:  # noqa: BLE001 - no other task would start this loop again
            _log.debug("wake-ups lost: %s", described(error))

    async def _listening(self) -> None:
        back_off = _FIRST_BACK_OFF
        while True:
            try:
                await self._listen_once()
                back_off = _FIRST_BACK_OFF
            except LOST as error:
                _log.warning("not listening for wake-ups, next attempt in %.2g s: %s", back_off, described(error))
                await asyncio.sleep(back_off)
                back_off = min(back_off * 2, _LONGEST_BACK_OFF)

    async def _listen_once(self) -> None:
        connection = await self._connections.connect(
            "listening", {}, within=self._connections.server.command_timeout, listening=True
        )
        try:
            gone = asyncio.Event()
            connection.add_termination_listener(lambda _: gone.set())
            await connection.add_listener(self._channel, self._notified)
            self._heard_all()  # something may have been sent before the connection listened
            while not gone.is_set():
                try:
                    async with asyncio.timeout(_ALIVE_EVERY):
                        await gone.wait()
                except TimeoutError:
                    await connection.execute("select 1")
        finally:
            connection.terminate()

    def _notified(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        sender, kind, name = str(payload).split(" ", 2)
        if sender != self._me:
            self._heard(kind, name)

    async def _polling(self) -> None:
        pause, known, again = _FASTEST_POLL, None, 0
        while True:
            await asyncio.sleep(pause)
            try:
                numbers = tuple((await self._reader.fetch(self._numbers_sql))[0])
            except Exception as error:  # noqa: BLE001 - no other task would start this loop again
                _log.debug("no wake-ups: %s", described(error))
                continue
            if numbers != known:
                known, again, pause = numbers, _POLL_AGAIN, _FASTEST_POLL
            else:
                pause = min(pause * 2, _SLOWEST_POLL)
            if again:
                again -= 1
                self._heard_all()
