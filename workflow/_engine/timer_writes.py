"""Writes timers in batches: a group commit of its own, because timers are not records.

A write starts at once; those of the same kind that come while the store is at work go with the next call. Thousands of
runs that enter a status, or timers that fire, at the same time would else be thousands of transactions.

Every write of a timer may be repeated, so a batch that the store does not take is halved until only what is at fault
fails.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from .._model.timer import TimeoutRecord
from ..errors import OutcomeUnknown, Unavailable
from ..protocols import TimeoutStore

BATCH = 500
"""Timers in one call."""

T = TypeVar("T")


class TimerWrites:
    """The timer writes of one running workflow. It belongs to the loop in which it is first used.

    Each method returns when the store has answered, and raises what the store raises.
    """

    def __init__(self, store: TimeoutStore) -> None:
        self._creating, self._postponing = _Line(store.create), _Line(store.postpone)
        self._completing, self._cancelling = _Line(store.complete), _Line(store.cancel)

    def create(self, timers: Sequence[TimeoutRecord]) -> Awaitable[None]:
        """See `TimeoutStore.create`."""
        return self._creating.write({timer.id: timer for timer in timers})

    def postpone(self, timer: TimeoutRecord) -> Awaitable[None]:
        """See `TimeoutStore.postpone`."""
        return self._postponing.write({timer.id: timer})

    def complete(self, timer_id: str) -> Awaitable[None]:
        """See `TimeoutStore.complete`."""
        return self._completing.write({timer_id: timer_id})

    def cancel(self, timer_ids: Sequence[str]) -> Awaitable[None]:
        """See `TimeoutStore.cancel`."""
        return self._cancelling.write({timer_id: timer_id for timer_id in timer_ids})

    async def flush(self) -> None:
        """Wait until nothing is being written."""
        lines = (self._creating, self._postponing, self._completing, self._cancelling)
        if tasks := [line.task for line in lines if line.task is not None]:
            await asyncio.wait(tasks)


class _Write(Generic[T]):
    __slots__ = ("answer", "items")

    def __init__(self, items: Mapping[str, T]) -> None:
        self.items = items
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Line(Generic[T]):
    """Writes of one kind, in the order in which they came.

    Attributes:
        task: what writes them; None while nothing is written.
    """

    def __init__(self, store: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        self._store = store
        self._waiting: deque[_Write[T]] = deque()
        self.task: asyncio.Task[None] | None = None

    def write(self, items: Mapping[str, T]) -> "asyncio.Future[None]":
        """Write these items, each under its timer's id."""
        write = _Write(items)
        self._waiting.append(write)
        if self.task is None:
            # In no context: it serves all callers, and must not carry the variables of the one that woke it.
            self.task = asyncio.get_running_loop().create_task(
                self._write_all(), name="workflow-timers", context=contextvars.Context()
            )
        return write.answer

    async def _write_all(self) -> None:
        try:
            # One turn of the loop lets the others of this tick come along.
            await asyncio.sleep(0)
            while self._waiting:
                await self._write(self._take())
        finally:
            # Here and not when the task is seen to be done: a write that came in between would wait for ever.
            self.task = None

    def _take(self) -> list[_Write[T]]:
        batch: list[_Write[T]] = []
        size = 0
        while self._waiting and (not batch or size + len(self._waiting[0].items) <= BATCH):
            write = self._waiting.popleft()
            if not write.answer.done():
                batch.append(write)
                size += len(write.items)
        return batch

    async def _write(self, batch: list[_Write[T]]) -> None:
        # Of two writes of one timer the later counts.
        items = {timer_id: item for write in batch for timer_id, item in write.items.items()}
        if not items:
            _answer(batch, None)
            return
        try:
            await self._store(list(items.values()))
        except (Unavailable, OutcomeUnknown) as error:
            _answer(batch, error)
        except Exception as error:  # noqa: BLE001 - one timer's trouble must not reach the others of its batch
            if len(batch) == 1:
                _answer(batch, error)
                return
            half = len(batch) // 2
            await self._write(batch[:half])
            await self._write(batch[half:])
        except BaseException as error:
            _answer(batch, error)
            raise
        else:
            _answer(batch, None)


def _answer(batch: list[_Write[T]], error: BaseException | None) -> None:
    for write in batch:
        if write.answer.done():
            continue
        if error is None:
            write.answer.set_result(None)
        else:
            write.answer.set_exception(error)
