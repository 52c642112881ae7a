"""Bugs of the group commit: what is written together, sent again, and given up."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from workflow._engine.commits import BATCH, FIRST_RETRY, Commits
from workflow._model.change import ALREADY_APPLIED, APPLIED, BUSY, UNKNOWN, NewVersion, Note, Outcome, Verdict
from workflow.errors import OutcomeUnknown, Unavailable

from .plant import bug


async def _send_badly(self: Any, batch: Any, settle: Any) -> Any:
    """`Commits._send`, with something else to do about an unknown outcome."""
    while True:
        for pending in batch:
            pending.sent = True
        try:
            outcomes = await self._store.store([pending.change for pending in batch])
            if UNKNOWN not in outcomes:
                return outcomes
            answer = await settle(self, batch)
            if answer is not None:
                return answer
        except Unavailable:
            await asyncio.sleep(FIRST_RETRY * (0.5 + self._draw()))
        except OutcomeUnknown:
            answer = await settle(self, batch)
            if answer is not None:
                return answer


@bug("unknown outcome answered by a read")
def _answered_by_read() -> Iterator[None]:
    async def read(self: Any, batch: Any) -> Any:
        try:
            records = await self._store.lookup([pending.change.run_id for pending in batch])
        except Unavailable:
            return None
        answers = []
        for pending in batch:
            change, record = pending.change, records.get(pending.change.run_id)
            if isinstance(change, Note):
                answers.append(APPLIED)
            elif record is not None and record.version >= change.record.version:
                answers.append(ALREADY_APPLIED)
            else:
                return None
        return answers

    with patch.object(Commits, "_send", lambda self, batch: _send_badly(self, batch, read)):
        yield


@bug("retry that forgets the attempt id")
def _forgets_attempt() -> Iterator[None]:
    async def forget(self: Any, batch: Any) -> Any:
        for pending in batch:
            if not isinstance(pending.change, Note):
                record = pending.change.record
                changed = replace(record, attempt_id=f"{record.attempt_id}+")
                pending.change = replace(pending.change, record=changed)

    with patch.object(Commits, "_send", lambda self, batch: _send_badly(self, batch, forget)):
        yield


@bug("a batch with two changes of one run")
def _two_of_one_run() -> Iterator[None]:
    def take(self: Any) -> Any:
        batch = []
        while self._queue and len(batch) < BATCH:
            batch.append(self._queue.popleft())
        return [pending for pending in batch if not pending.abandoned]

    with patch.object(Commits, "_take", take):
        yield


@bug("two batches hold the same run", needs=lambda plan: plan.writers > 1 and not (plan.busy or plan.unknown))
def _two_batches() -> Iterator[None]:
    real = Commits._take

    def take(self: Any) -> Any:
        writing, self._writing = self._writing, set()
        try:
            return real(self)
        finally:
            self._writing = writing

    with patch.object(Commits, "_take", take):
        yield


@bug("one bad change fails its whole batch", needs=lambda plan: "unstorable" in plan.extra)
def _whole_batch() -> Iterator[None]:
    real = Commits._send

    async def send(self: Any, batch: Any) -> Any:
        outcomes = await real(self, batch)
        bad = next((outcome for outcome in outcomes or () if outcome.verdict is Verdict.REFUSED), None)
        return outcomes if bad is None else [bad] * len(outcomes)

    with patch.object(Commits, "_send", send):
        yield


def _unknown_is(verdict: Outcome) -> Any:
    """Every UNKNOWN is taken for this."""
    real = Commits._answer

    def answer(self: Any, pending: Any, outcome: Any) -> None:
        real(self, pending, verdict if outcome is UNKNOWN else outcome)

    return patch.object(Commits, "_answer", answer)


@bug("an unknown outcome is taken for written", needs=lambda plan: plan.unknown)
def _unknown_is_applied() -> Iterator[None]:
    with _unknown_is(APPLIED):
        yield


@bug("an unknown outcome is taken for not written", needs=lambda plan: plan.unknown)
def _unknown_is_conflict() -> Iterator[None]:
    with _unknown_is(Outcome(Verdict.CONFLICT)):
        yield


@bug("a change that the batch left out is forgotten", needs=lambda plan: plan.busy)
def _left_out() -> Iterator[None]:
    with patch.object(Commits, "_write_apart", lambda self, pending: pending.answer(BUSY)):
        yield


@bug("a store error counts as a failure", needs=lambda plan: plan.unavailable or plan.unknown)
def _error_is_failure() -> Iterator[None]:
    async def once(self: Any, batch: Any) -> Any:
        try:
            return await self._store.store([pending.change for pending in batch])
        except (Unavailable, OutcomeUnknown) as error:
            return self._all_failed(batch, error)

    with patch.object(Commits, "_send", once):
        yield


@bug("what was given up is written", needs=lambda plan: plan.outage)
def _given_up() -> Iterator[None]:
    real = Commits.apply

    async def apply(self: Any, change: Any, patience: timedelta | None = None) -> Any:
        if patience is None:
            return await real(self, change)
        doing = asyncio.ensure_future(real(self, change))
        done, _ = await asyncio.wait({doing}, timeout=patience.total_seconds())
        if not done:
            raise Unavailable("given up")
        return doing.result()

    with patch.object(Commits, "apply", apply):
        yield


@bug("a verb without a deadline", needs=lambda plan: plan.outage)
def _no_deadline() -> Iterator[None]:
    real = Commits.apply

    async def apply(self: Any, change: Any, patience: timedelta | None = None) -> Any:
        return await real(self, change)

    with patch.object(Commits, "apply", apply):
        yield


@bug("the lane goes on from what another wrote")
def _from_anothers() -> Iterator[None]:
    real = Commits._write

    async def write(self: Any, batch: Any) -> bool:
        def watch(pending: Any) -> None:
            def answered(done: Any) -> None:
                if not done.cancelled() and not done.exception() and done.result() is ALREADY_APPLIED:
                    self._on_applied(pending.change)

            if isinstance(pending.change, NewVersion):
                pending.done.add_done_callback(answered)

        for pending in batch:
            watch(pending)
        return await real(self, batch)

    with patch.object(Commits, "_write", write):
        yield
