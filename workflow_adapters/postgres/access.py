"""How the record store reaches its tables: by lanes of its own, or through the transaction that the caller joined.

A caller that has joined a transaction of the user's reads and writes through it: so it sees its own writes, and they
are kept if and only if the user commits.
"""

from collections.abc import Callable, Sequence

from .joined import Joined, to_end
from .lane import Lane
from .names import quoted
from .server import Row

__all__ = ["Access"]


class Access:
    """Runs single statements in one schema; `{schema}` stands for its name in each."""

    def __init__(self, *, reads: Lane, writes: Lane, schema: str, joined: Joined) -> None:
        self._reads, self._writes, self._joined, self._schema = reads, writes, joined, quoted(schema)

    async def read(self, sql: str, *args: object) -> Sequence[Row]:
        """The rows of a statement that writes nothing.

        Raises:
            Unavailable: the server cannot be reached.
        """
        sql = sql.replace("{schema}", self._schema)
        theirs = self._joined.connection()
        if theirs is not None:
            return await to_end(theirs.fetch(sql, *args))
        return await self._reads.fetch(sql, *args)

    async def write(self, sql: str, *args: object) -> Sequence[Row]:
        """The rows of a statement that writes; a transaction of its own, unless the caller joined one.

        Raises:
            Unavailable: nothing was written.
            OutcomeUnknown: the connection was lost after the statement had been sent.
        """
        sql = sql.replace("{schema}", self._schema)
        theirs = self._joined.connection()
        if theirs is not None:
            rows: Sequence[Row] = await self._joined.run(theirs, lambda c: c.fetch(sql, *args))
            return rows
        return await self._writes.write(sql, *args)

    def in_transaction(self) -> bool:
        """True while the calling task has joined a transaction of the user's."""
        return self._joined.connection() is not None

    def when_visible(self, call: Callable[[], None]) -> None:
        """Call this once others can see the writes so far: now, or soon after the user's transaction has ended."""
        theirs = self._joined.transaction()
        if theirs is None:
            call()
        else:
            self._joined.when_ended(theirs, call)
