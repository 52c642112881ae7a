"""The only writer of records: everything that changes a run builds a `Change` and awaits it here.

How it works. A change waits in a queue. A writer task takes up to `BATCH` of them, never two of one run, and gives
them to the store in one call: that is the group commit. The first change starts at once; those that come while the
store is at work ride the next batch, so batches grow by themselves under load. The store judges each change by itself
and its outcome goes to the one who waits for it. Four outcomes mean more work here:

- REFUSED: the change itself is at fault; its waiter gets the error, the others are written.
- BUSY: another transaction holds the row. The change is sent again alone, later and later, and holds back no batch.
- UNKNOWN, or `OutcomeUnknown` for the whole batch: the same change is sent again. Its attempt id tells the store
  whether it was written before.
- `Unavailable`: nothing was written. The changes wait and are sent again; no attempt is counted meanwhile.

A batch may die because of what is in it: its size, or one change that takes the connection with it. So batches are
bounded in bytes, and one that died is sent again in halves. A change that died alone lets others go first; if they
get through, the store is there and the change goes on alone.

A cancelled waiter never cancels the write.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

from .._model.change import Change, NewVersion, Outcome, Verdict
from .._model.record import Record
from ..errors import BackendNotOpen, OutcomeUnknown, Unavailable
from ..protocols import JoinsTransactions, RecordStore
from .log import SafeLogger
from .loop_guard import LoopGuard

BATCH = 500
"""Changes in one batch. Larger batches gain nothing measurable and make the first waiter wait for the last."""

BATCH_BYTES = 8 * 2**20
"""Bytes of objects in one batch, beside the first change, which may have any size: so small ones ride with a large one.

A store must take that many well within its time limit.
"""

WORTHWHILE = 200
"""Changes that must wait before a second batch is written beside the first: small batches cost more than they gain."""

VERB_DEADLINE = timedelta(seconds=30)
"""How long a verb waits for a store that cannot be reached before it raises `Unavailable` or `OutcomeUnknown`."""

FIRST_RETRY, LONGEST_RETRY = 0.05, 2.0
"""Seconds between tries while the store cannot be reached or a row is held: doubling from the first to the longest."""

ABANDON_AFTER = 4.0
"""After this many seconds of outage, drop changes without a waiter: the next attempt makes others."""


class _Pending:
    """A change that waits, and the future of its waiter."""

    __slots__ = ("abandoned", "change", "died_at", "done", "doubtful", "sent", "wait", "why")

    def __init__(self, change: Change, loop: asyncio.AbstractEventLoop) -> None:
        self.change = change
        self.done: asyncio.Future[Outcome] = loop.create_future()
        self.sent = False
        self.doubtful = False
        self.abandoned = False
        self.died_at: float | None = None
        self.wait = 0.0
        self.why = ""

    @property
    def size(self) -> int:
        """Bytes of its object."""
        return len(self.change.record.object) if isinstance(self.change, NewVersion) else 0

    def died_alone(self) -> None:
        """It was sent by itself, and the store could not be reached or the connection was lost."""
        if self.died_at is None:
            self.died_at = asyncio.get_running_loop().time()

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
        on_applied: called on the loop, in order of commit, for every new version that is seen to be written.
        on_rewind: called when a change meets a version before the one that it was made from.
        draw: gives a number from [0, 1): the jitter of retries.
        guard: refuses a second event loop.
    """

    def __init__(
        self,
        store: RecordStore,
        on_applied: Callable[[NewVersion], None],
        on_rewind: Callable[[str], None],
        draw: Callable[[], float],
        logger: SafeLogger,
        guard: LoopGuard | None = None,
    ) -> None:
        self._guard = guard or LoopGuard("")
        self._store, self._draw, self._logger = store, draw, logger
        self._on_applied, self._on_rewind = on_applied, on_rewind
        self._in_users_transaction = store.joined if isinstance(store, JoinsTransactions) else None
        self._begin(None)

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Serve this loop. What waited in another one ended with it (or, after a fork, is the parent's)."""
        self._loop = loop
        self._away_since: float | None = None
        self._away_why = ""
        self._most = BATCH
        self._queue: deque[_Pending] = deque()
        self._writing: set[str] = set()
        self._at_work = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def apply(self, change: Change, patience: timedelta | None = None) -> Awaitable[Outcome]:
        """Write one change; await the result to learn what became of it, once that is durable.

        The outcome is APPLIED, ALREADY_APPLIED, CONFLICT or IN_PROGRESS. Without `patience` it takes as long as the
        store needs. With it, it gives up then:

        Raises:
            BackendNotOpen: the backend is not entered; nothing was written.
            WrongEventLoop: the workflow is in use in another event loop; nothing was written.
            Unavailable: the store could not be reached in time; nothing was written, nothing will be.
            OutcomeUnknown: it was sent, and whether it was written could not be found out in time.
            Exception: the store refused the change; this is its error.
        """
        if self._in_users_transaction is not None and self._in_users_transaction():
            return self._joined(change)
        if (loop := asyncio.get_running_loop()) is not self._loop:
            self._guard.changed(loop)
            self._begin(loop)
        pending = _Pending(change, loop)
        if isinstance(change, NewVersion) and change.on_commit:
            self._write_apart(pending)
        else:
            self._queue.append(pending)
            self._wake()
        return pending.done if patience is None else self._patiently(pending, patience)

    async def _joined(self, change: Change) -> Outcome:
        outcome = (await self._store.store([change]))[0]
        if outcome.error is not None:
            raise outcome.error
        return outcome

    async def _patiently(self, pending: _Pending, patience: timedelta) -> Outcome:
        try:
            async with asyncio.timeout(patience.total_seconds()):
                return await pending.done
        except TimeoutError:
            if pending.done.done() and not pending.done.cancelled():
                # The answer came at the very moment of the deadline.
                return pending.done.result()
            pending.abandoned = True
            known = pending.why or (self._away_why if self._away_since is not None else "")
            because = f": {known}" if known else ""
            if pending.sent:
                why = f"no answer from the store within {patience}{because}"
                raise OutcomeUnknown(why, run_id=pending.change.run_id) from None
            why = f"the store could not be reached within {patience}{because}"
            raise Unavailable(why, run_id=pending.change.run_id) from None

    async def flush(self) -> None:
        """Wait until nothing is being written."""
        while self._tasks and self._loop is asyncio.get_running_loop():
            await asyncio.wait(self._tasks)

    # -- batches ---------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        # Another writer pays only for a batch worth its own transaction; less goes with the next of those at work.
        if not self._at_work or (self._at_work < self._store.writers and len(self._queue) >= WORTHWHILE):
            self._at_work += 1
            # In no context: it serves all callers, and must not carry the variables of the one that woke it.
            self._track(self._write_all(), "workflow-commits", contextvars.Context())

    async def _write_all(self) -> None:
        # Of this loop; one that is collected after its loop was closed has nothing to say about the next.
        loop, writing = self._loop, self._writing
        wait = FIRST_RETRY
        try:
            # One turn of the loop lets the others of this tick board the first batch.
            await asyncio.sleep(0)
            while batch := self._take():
                runs = {pending.change.run_id for pending in batch}
                writing |= runs
                try:
                    written = await self._write(batch)
                finally:
                    writing -= runs
                if written:
                    self._most, wait = min(self._most * 2, BATCH), FIRST_RETRY
                    continue
                self._put_back(batch)
                await asyncio.sleep(wait * (0.5 + self._draw()))
                wait = min(wait * 2, LONGEST_RETRY)
        finally:
            # Here and not when the task is seen to be done: a change queued in between would wait for ever.
            if loop is self._loop:
                self._at_work -= 1

    def _take(self) -> list[_Pending]:
        """The next batch: no run twice or in a batch under way, no change that was given up."""
        batch: list[_Pending] = []
        runs = set(self._writing)
        held: list[_Pending] = []
        queue, size = self._queue, 0
        most, away_since = self._most, self._away_since
        while queue and len(batch) < most and len(held) < BATCH:
            pending = queue.popleft()
            if self._is_given_up(pending, away_since):
                continue
            if pending.died_at is not None and away_since is None:
                # Others got through meanwhile: it is this change that the store does not get over.
                self._write_apart(pending)
                continue
            run_id = pending.change.run_id
            if run_id in runs:
                held.append(pending)
                continue
            runs.add(run_id)  # also if it has no room: nothing of its run may overtake it
            if batch:
                grown = size + pending.size
                if grown > BATCH_BYTES:
                    # Smaller ones do not wait for it.
                    held.append(pending)
                    continue
                size = grown
            batch.append(pending)
        queue.extendleft(reversed(held))
        return batch

    def _put_back(self, batch: list[_Pending]) -> None:
        """Have a batch that died sent again, in smaller ones."""
        if self._away_since is None:
            self._away_since = asyncio.get_running_loop().time()
        self._most = max(1, len(batch) // 2)
        if len(batch) == 1:
            batch[0].died_alone()
            self._queue.append(batch[0])
        else:
            self._queue.extendleft(reversed(batch))

    # -- one batch -------------------------------------------------------------------------------------------

    async def _write(self, batch: list[_Pending]) -> bool:
        """Send a batch and answer its waiters; False if it must be sent again."""
        outcomes = await self._send(batch)
        if outcomes is None:
            return False
        for pending, outcome in zip(batch, outcomes, strict=True):
            if outcome.verdict is not Verdict.APPLIED:
                self._answer(pending, outcome)
                continue
            pending.answer(outcome)
            # Not for ALREADY_APPLIED: that may be another's doing (a trigger with the same run ID, another claim of a
            # timer), whose object and times are in the store and not these: this process must not go on from them.
            if isinstance(pending.change, NewVersion):
                self._notify_applied(pending.change)
        return True

    def _answer(self, pending: _Pending, outcome: Outcome) -> None:
        """Answer a change that was not applied, or send it again."""
        verdict = outcome.verdict
        if verdict is Verdict.BUSY or verdict is Verdict.UNKNOWN:
            pending.doubtful = pending.doubtful or verdict is Verdict.UNKNOWN
            pending.died_at = None
            self._write_apart(pending)
        elif verdict is Verdict.REFUSED:
            pending.fail(outcome.error or ValueError("the store refused the change and did not say why"))
        else:
            if verdict is Verdict.CONFLICT:
                self._look_back(pending.change, outcome)
            pending.answer(outcome)

    def _look_back(self, change: Change, outcome: Outcome) -> None:
        present = 0 if outcome.record is None else outcome.record.version
        made_from = change.expects if isinstance(change, NewVersion) else change.version
        if present < made_from:
            self._on_rewind(f"run {change.run_id!r} was at version {made_from}, and is at {present} now")
        elif outcome.record is not None and present == made_from and _is_other(change, outcome.record):
            self._on_rewind(f"version {present} of run {change.run_id!r} is another one than before")

    def _notify_applied(self, change: NewVersion) -> None:
        try:
            self._on_applied(change)
        except Exception as error:
            # It is durable whatever becomes of the news, and the others of the batch must have their answers.
            extra = {"run_id": change.run_id}
            self._logger.error("news of a committed version got lost", exc_info=error, extra=extra)

    async def _send(self, batch: list[_Pending]) -> Sequence[Outcome] | None:
        """The outcomes of the batch; None if the store could not be reached, or the connection died with it."""
        for pending in batch:
            pending.sent = True
        try:
            outcomes = await self._store.store([pending.change for pending in batch])
            if len(outcomes) != len(batch):
                raise ValueError(f"the store gave {len(outcomes)} outcomes for {len(batch)} changes")
        except BackendNotOpen as error:
            return self._all_failed(batch, error)
        except Unavailable as error:
            # Nothing was written: as far as the waiters are concerned, nothing was sent this time.
            for pending in batch:
                pending.sent, pending.why = pending.doubtful, str(error)
            self._away_why = str(error)
            self._logger.warning("store unavailable, %d changes wait: %s", len(batch), error)
            return None
        except OutcomeUnknown as error:
            for pending in batch:
                pending.doubtful, pending.why = True, str(error)
            self._away_why = str(error)
            self._logger.warning("outcome of %d changes unknown, sending them again: %s", len(batch), error)
            return None
        except Exception as error:  # noqa: BLE001 - a store that breaks its contract must not hang its callers
            return self._all_failed(batch, error)
        self._away_since = None
        return outcomes

    @staticmethod
    def _all_failed(batch: list[_Pending], error: Exception) -> Sequence[Outcome]:
        for pending in batch:
            pending.fail(error)
        batch.clear()
        return []

    @staticmethod
    def _is_given_up(pending: _Pending, failing_since: float | None) -> bool:
        """True if this change has no waiter any more, and is not worth trying either."""
        if pending.abandoned and not pending.sent:
            return True
        if failing_since is None or not pending.done.done():
            return False
        return asyncio.get_running_loop().time() - failing_since > ABANDON_AFTER

    # -- a change alone --------------------------------------------------------------------------------------

    def _write_apart(self, pending: _Pending) -> None:
        """Write one change alone; one that was sent before waits a moment first."""
        self._track(self._alone(pending), "workflow-commits-apart")

    async def _alone(self, pending: _Pending) -> None:
        """Send one change by itself; what gives it no answer may last, and each try costs others, so wait longer."""
        if pending.sent or pending.died_at is not None:
            pending.wait = min(max(pending.wait * 2, FIRST_RETRY), LONGEST_RETRY)
            await asyncio.sleep(pending.wait * (1 + self._draw()) / 2)
        if self._is_given_up(pending, pending.died_at):
            return
        if not await self._write([pending]):
            pending.died_alone()
            self._write_apart(pending)

    def _track(self, work: Coroutine[Any, Any, None], name: str, context: contextvars.Context | None = None) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _is_other(change: Change, present: Record) -> bool:
    return change.base_attempt not in ("", present.attempt_id)
