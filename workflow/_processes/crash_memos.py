"""Makes crashes count where no record does: in hooks, connectors and timer functions.

While crashes are suspected (as for `CrashGuard`, or because the event has failed before) a memo is kept during each
call: which attempt it is, and who makes it. The next holder of the role finds a memo that is not its own, and takes it
for a failed attempt.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .._engine.engine import Engine
from .crash_guard import SUSPICION
from .lease_term import LeaseTerm


class CrashMemos:
    """The memos of one consumer."""

    def __init__(self, engine: Engine, consumer: str) -> None:
        self._engine, self._consumer = engine, consumer
        self._term: LeaseTerm | None = None

    def begin(self, term: LeaseTerm) -> None:
        """A term of the role starts."""
        self._term = term

    @property
    def suspects(self) -> bool:
        """True while the process that held the role before may have died in a call."""
        term = self._term
        if term is None or not term.lease.unclean:
            return False
        return asyncio.get_running_loop().time() - term.began < SUSPICION

    async def crashed(self, what: str) -> int:
        """Which attempt for this an earlier holder began without coming to an end; 0 if none."""
        attempt, _, holder = (await self._engine.records.memo(self._engine.name, self._key(what))).partition(" ")
        return int(attempt) if attempt and holder != self._holder else 0

    async def forget(self, what: str) -> None:
        """It was counted, or dealt with."""
        await self._write(what, "")

    @asynccontextmanager
    async def noted(self, what: str, attempt: int, *, before: int = 0) -> AsyncIterator[None]:
        """Around a call that may end the process; being asked to stop is no crash, and leaves `before` attempts."""
        await self._write(what, f"{attempt} {self._holder}")
        try:
            yield
        except asyncio.CancelledError:
            await self._write(what, f"{before} stopped" if before else "")
            raise

    async def _write(self, what: str, text: str) -> None:
        await self._engine.records.keep_memo(self._engine.name, self._key(what), text)

    @property
    def _holder(self) -> str:
        token = "" if self._term is None else self._term.lease.token
        return f"{self._engine.ids.process_id}-{token}"

    def _key(self, what: str) -> str:
        # Of the same length whatever the names are: a key has a limit.
        names = f"{self._consumer}\0{what}"
        return f"crash {hashlib.sha256(names.encode()).hexdigest()}"
