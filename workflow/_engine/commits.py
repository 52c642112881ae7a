"""The only writer of records: everything that changes a run builds a `Change` and awaits it here.

What waits is written together (group commit): the first change starts at once, the rest ride the next batch. A batch
that fails on data is halved until only the bad change fails. A write whose outcome is unknown is sent again as it is:
the store recognises the attempt id. A cancelled waiter never cancels the write.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

from .._model.change import Change, NewVersion, Outcome, Verdict
from ..errors import BackendNotOpen, OutcomeUnknown, Unavailable
from ..protocols import RecordStore

BATCH = 500
"""Changes in one batch. Larger batches gain nothing measurable and make the first waiter wait for the last."""

WORTHWHILE = 200
"""Changes that must wait before a second batch is written beside the first: small batches cost more than they gain."""

VERB_DEADLINE = timedelta(seconds=30)
"""How long a verb waits for a store that cannot be reached before it raises `Unavailable` or `OutcomeUnknown`."""

FIRST_RETRY, LONGEST_RETRY = 0.05, 2.0
"""Seconds between tries while the store cannot be reached: doubling from the first to the longest."""

ABANDON_AFTER = 4.0
"""Seconds of an outage after which a change is no longer sent whose waiter has gone: the next attempt makes another."""


class _Pending:
    """A change that waits, and the future of whoever waits for it."""

    __slots__ = ("abandoned", "change", "done", "sent")

    def __init__(self, change: Change, loop: asyncio.AbstractEventLoop) -> None:
        self.change = change
        self.done: asyncio.Future[Outcome] = loop.create_future()
        self.sent = False
        self.abandoned = False

    def answer(self, outcome: Outcome) -> None:
        if not self.done.done():
            self.done.set_result(outcome)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Commits:
    """Group commit over one record store.

    Args:
        store: where the changes go.
        on_applied: called on the loop, in order of commit, for every move that is seen to be written.
        draw: gives a number from [0, 1): the jitter of retries.
    """

    def __init__(
        self,
        store: RecordStore,
        on_applied: Callable[[NewVersion], None],
        draw: Callable[[], float],
        logger: logging.Logger,
    ) -> None:
        self._store, self._on_applied, self._draw, self._logger = store, on_applied, draw, logger
        self._begin(None)

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Serve this loop. What waited in another one ended with it (or, after a fork, is the parent's)."""
        self._loop = loop
        self._away_since: float | None = None
        self._queue: deque[_Pending] = deque()
        self._writing: set[str] = set()
        self._at_work = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def apply(self, change: Change, patience: timedelta | None = None) -> Awaitable[Outcome]:
        """Write one change; await the result to learn what became of it, once that is durable.

        Without `patience` that takes as long as the store needs. With it, it gives up then:

        Raises:
            BackendNotOpen: the backend is not entered; nothing was written.
            Unavailable: the store could not be reached in time; nothing was written, nothing will be.
            OutcomeUnknown: it was sent, and whether it was written could not be found out in time.
            Exception: the change itself cannot be stored.
        """
        if self._store.joined():
            return self._joined(change)
        if (loop := asyncio.get_running_loop()) is not self._loop:
            self._begin(loop)
        pending = _Pending(change, loop)
        if isinstance(change, NewVersion) and change.on_commit:
            self._spawn_apart([pending])
        else:
            self._queue.append(pending)
            self._wake()
        return pending.done if patience is None else self._patiently(pending, patience)

    async def _joined(self, change: Change) -> Outcome:
        return (await self._store.store([change]))[0]

    async def _patiently(self, pending: _Pending, patience: timedelta) -> Outcome:
        try:
            async with asyncio.timeout(patience.total_seconds()):
                return await pending.done
        except TimeoutError:
            if pending.done.done() and not pending.done.cancelled():
                # The answer came at the very moment of the deadline.
                return pending.done.result()
            pending.abandoned = True
            if pending.sent:
                why = f"no answer from the store within {patience}"
                raise OutcomeUnknown(why, run_id=pending.change.run_id) from None
            why = f"the store could not be reached within {patience}"
            raise Unavailable(why, run_id=pending.change.run_id) from None

    async def flush(self) -> None:
        """Wait until nothing is being written."""
        while self._tasks and self._loop is asyncio.get_running_loop():
            await asyncio.wait(self._tasks)

    def _wake(self) -> None:
        # Another writer pays only for a batch worth its own transaction; less goes with the next of those at work.
        if not self._at_work or (self._at_work < self._store.writers and len(self._queue) >= WORTHWHILE):
            self._at_work += 1
            self._track(self._write_all(), "workflow-commits")

    async def _write_all(self) -> None:
        # Of this loop; one that is collected after its loop was closed has nothing to say about the next.
        loop, writing = self._loop, self._writing
        try:
            # One turn of the loop lets the others of this tick board the first batch.
            await asyncio.sleep(0)
            while batch := self._take():
                runs = {pending.change.run_id for pending in batch}
                writing |= runs
                try:
                    await self._write(batch)
                finally:
                    writing -= runs
        finally:
            # Here and not when the task is seen to be done: what is queued in between would wait for nobody.
            if loop is self._loop:
                self._at_work -= 1

    def _take(self) -> list[_Pending]:
        """The next batch: no run twice or in a batch under way, no change that was given up before it was sent."""
        batch: list[_Pending] = []
        runs = set(self._writing)
        held: list[_Pending] = []
        queue = self._queue
        while queue and len(batch) < BATCH:
            pending = queue.popleft()
            if pending.abandoned:
                continue
            run_id = pending.change.run_id
            if run_id in runs:
                held.append(pending)
            else:
                runs.add(run_id)
                batch.append(pending)
        queue.extendleft(reversed(held))
        return batch

    async def _write(self, batch: list[_Pending]) -> None:
        """Write a batch, however long the store is away; on bad data, its halves."""
        outcomes = await self._try(batch)
        if outcomes is None:
            return
        busy = []
        for pending, outcome in zip(batch, outcomes, strict=True):
            if outcome.verdict is Verdict.BUSY:
                busy.append(pending)
                continue
            pending.answer(outcome)
            # ALREADY_APPLIED may be another's doing (a trigger with the same run ID, another claim of a timer), whose
            # object and times are in the store and not these: nobody here must go on from them.
            if outcome.verdict is Verdict.APPLIED and isinstance(pending.change, NewVersion):
                self._notify_applied(pending.change)
        if busy:
            for pending in busy:
                # Alone, later, and without holding back the batches behind.
                self._spawn_apart([pending])

    def _notify_applied(self, move: NewVersion) -> None:
        try:
            self._on_applied(move)
        except Exception:
            # It is durable whatever becomes of the news, and the others of the batch must have their answers.
            self._logger.exception("news of a committed version got lost", extra={"run_id": move.run_id})

    async def _try(self, batch: list[_Pending]) -> Sequence[Outcome] | None:
        wait = FIRST_RETRY
        while True:
            if len(live := [pending for pending in batch if not self._is_given_up(pending)]) < len(batch):
                batch[:] = live
            if not batch:
                return None
            try:
                for pending in batch:
                    pending.sent = True
                outcomes = await self._store.store([pending.change for pending in batch])
                if len(outcomes) != len(batch):
                    raise ValueError(f"the store gave {len(outcomes)} outcomes for {len(batch)} changes")
                self._away_since = None
                return outcomes
            except BackendNotOpen as error:
                for pending in batch:
                    pending.fail(error)
                return None
            except Unavailable as error:
                # Nothing was written: as far as the waiters are concerned, nothing was sent.
                for pending in batch:
                    pending.sent = False
                self._logger.warning("store unavailable, %d changes wait: %s", len(batch), error)
            except OutcomeUnknown as error:
                self._logger.warning("outcome of %d changes unknown, sending them again: %s", len(batch), error)
            except Exception as error:  # noqa: BLE001 - handed to whoever made the change
                if len(batch) == 1:
                    batch[0].fail(error)
                    return None
                await self._halve(batch)
                return None
            if self._away_since is None:
                self._away_since = asyncio.get_running_loop().time()
            await asyncio.sleep(wait * (0.5 + self._draw()))
            wait = min(wait * 2, LONGEST_RETRY)

    def _is_given_up(self, pending: _Pending) -> bool:
        """True if nobody waits for this change any more, and it is not worth trying either."""
        if pending.abandoned and not pending.sent:
            return True
        away = self._away_since
        return pending.done.done() and away is not None and asyncio.get_running_loop().time() - away > ABANDON_AFTER

    async def _halve(self, batch: list[_Pending]) -> None:
        middle = len(batch) // 2
        await self._write(list(islice(batch, middle)))
        await self._write(list(islice(batch, middle, None)))

    def _spawn_apart(self, batch: list[_Pending]) -> None:
        self._track(self._write_apart(batch), "workflow-commits-apart")

    def _track(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_apart(self, batch: list[_Pending]) -> None:
        if batch[0].sent:
            await asyncio.sleep(FIRST_RETRY * (0.5 + self._draw()))
        await self._write(batch)
