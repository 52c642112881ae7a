"""Makes crashes count: a handler that kills its process is paused like one that raises.

A crash leaves no failed attempt behind. So in the first minute after an unclean takeover (the holder before did not
release its role: its process may have died in a handler) the start of each handler is noted durably before it runs.
The next holder finds a note that is not its own, and takes it for a failed attempt.
"""

import asyncio
from collections.abc import Awaitable, Callable

from .._engine.engine import Engine
from .._model.change import Note
from .._model.record import Record
from .lease_term import LeaseTerm

SUSPICION = 60.0
"""Seconds after an unclean takeover in which the start of each handler is noted."""
CRASHED = "the process that ran this attempt ended before it had a result"


class Crashed(RuntimeError):
    """An attempt that left no result, because its process ended."""


class CrashGuard:
    """The notes of one term of a role."""

    def __init__(self, engine: Engine, term: LeaseTerm) -> None:
        self._engine, self._term = engine, term
        self._name = f"{engine.ids.process_id}-{term.lease.token}"

    def crashed(self, record: Record) -> bool:
        """True if an earlier holder began an attempt at this version and left no result."""
        return bool(record.marks.claimed_by) and record.marks.claimed_by != self._name

    async def attempt(self, record: Record, run: Callable[[Record], Awaitable[None]]) -> None:
        """Run an attempt at this version, noted beforehand; called while crashes are suspected."""
        commits = self._engine.commits
        try:
            claim = Note(
                run_id=record.run_id, version=record.version, base_attempt=record.attempt_id, claimed_by=self._name
            )
            if (await commits.apply(claim)).ok:
                await run(record)
        except asyncio.CancelledError:
            # Being asked to stop is no crash: take the note back, the attempt does not count.
            await commits.apply(
                Note(run_id=record.run_id, version=record.version, base_attempt=record.attempt_id, claimed_by="")
            )
            raise

    @property
    def suspects(self) -> bool:
        """True while the process that held the role before may have died of what it handled."""
        if not self._term.lease.unclean:
            return False
        return asyncio.get_running_loop().time() - self._term.began < SUSPICION
