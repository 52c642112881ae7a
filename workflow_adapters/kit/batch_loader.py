"""Questions of one kind that are asked at the same time, answered by one statement; also writes of single keys.

A thousand callers that each look up one run would be a thousand statements. A key that is asked for while a statement
is under way goes into the next one. That statement begins after the question, so each answer is as fresh as the answer
of a statement of its own.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

__all__ = ["BatchLoader"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_FLIGHTS = 2
"""Statements under way at once: while one is answered the server can work on the next."""

_MOST_KEYS = 500


class BatchLoader(Generic[K, V]):
    """Looks up single keys in batches.

    Args:
        read: the values of those of these keys that exist. Its exception is raised to each caller of the batch.
    """

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._read = read
        self._waiting: deque[tuple[K, asyncio.Future[V | None]]] = deque()
        self._flying = 0
        self._flights: set[asyncio.Task[None]] = set()

    async def get(self, key: K) -> V | None:
        """The value of this key; None if `read` has none. Safe to cancel: the others of its batch get their answers."""
        answer: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, answer))
        if self._flying < _FLIGHTS:
            self._flying += 1
            flight = asyncio.get_running_loop().create_task(self._fly())
            self._flights.add(flight)
            flight.add_done_callback(self._flights.discard)
        return await answer

    async def _fly(self) -> None:
        try:
            await asyncio.sleep(0)  # other questions of this turn of the loop come along
            await self._answer_all()
        finally:
            # Not in a callback of the task: a question between its end and the callback would wait for ever.
            self._flying -= 1

    async def _answer_all(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_MOST_KEYS, len(self._waiting)))]
            try:
                found = await self._read(list({key for key, answer in batch if not answer.done()}))
            except BaseException as error:  # each caller gets it
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                if not isinstance(error, Exception):
                    raise
                continue
            for key, answer in batch:
                if not answer.done():
                    answer.set_result(found.get(key))
