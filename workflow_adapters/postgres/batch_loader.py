"""Questions of one kind that are asked at the same time, answered by one statement; also writes of single keys.

A thousand callers that each look up one run would be a thousand statements. What is asked for while a statement is
under way rides the next one, which begins after it was asked for: every answer is as fresh as one of its own.
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
    """Answers for keys; `read` gives those that exist."""

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._read = read
        self._waiting: deque[tuple[K, asyncio.Future[V | None]]] = deque()
        self._flying = 0
        self._flights: set[asyncio.Task[None]] = set()

    async def get(self, key: K) -> V | None:
        """The value of this key."""
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
            await asyncio.sleep(0)  # whoever else asks in this turn of the loop comes along
            await self._answer_all()
        finally:
            # Here and not when the task is seen to be done: what is asked in between would wait for nobody.
            self._flying -= 1

    async def _answer_all(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_MOST_KEYS, len(self._waiting)))]
            try:
                found = await self._read(list({key for key, answer in batch if not answer.done()}))
            except BaseException as error:  # every caller gets it, whatever it is
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                if not isinstance(error, Exception):
                    raise
                continue
            for key, answer in batch:
                if not answer.done():
                    answer.set_result(found.get(key))
