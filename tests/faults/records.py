"""Record stores that are wrong in one way each."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from tests.faults import Wrapper
from workflow._model.change import APPLIED, Change, Emit, Mark, NewVersion, Outcome, Verdict
from workflow._model.dead_letter import DeadLetter
from workflow._model.event import OutboxPage
from workflow._model.query import Order, RecordQuery, StalledQuery
from workflow._model.record import Record
from workflow.errors import Unavailable

AGES = timedelta(days=1_000)


class NoCompareAndSwap(Wrapper):
    """Reads the version, then writes whatever it was given: the last writer wins."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store(changes))
        for place, (change, outcome) in enumerate(zip(changes, outcomes, strict=True)):
            if outcome.verdict is Verdict.CONFLICT and outcome.record and isinstance(change, NewVersion):
                version = outcome.record.version + 1
                record = msgspec.structs.replace(change.record, version=version)
                forced = msgspec.structs.replace(change, record=record)
                (outcomes[place],) = await self.real.store([forced])
        return outcomes


class ForgetsAttempts(Wrapper):
    """Does not know its own writes again."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store(changes))
        for place, (change, outcome) in enumerate(zip(changes, outcomes, strict=True)):
            if outcome.verdict is Verdict.ALREADY_APPLIED:
                records = await self.real.lookup([change.run_id])
                outcomes[place] = Outcome(Verdict.CONFLICT, records[change.run_id])
        return outcomes


class KnowsOnlyTheLastAttempt(Wrapper):
    """Compares the attempt id with the present record, not with the history."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store(changes))
        for place, (change, outcome) in enumerate(zip(changes, outcomes, strict=True)):
            if outcome.verdict is Verdict.ALREADY_APPLIED and isinstance(change, NewVersion):
                present = (await self.real.lookup([change.run_id]))[change.run_id]
                if present.version != change.record.version:
                    outcomes[place] = Outcome(Verdict.CONFLICT, present)
        return outcomes


class DuplicateLiveRuns(Wrapper):
    """Lets a foreign ID have any number of live runs."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store(changes))
        for place, (change, outcome) in enumerate(zip(changes, outcomes, strict=True)):
            if outcome.verdict is Verdict.IN_PROGRESS and isinstance(change, NewVersion):
                hidden = f"{change.record.foreign_id}|{change.run_id}"
                record = msgspec.structs.replace(change.record, foreign_id=hidden)
                (outcomes[place],) = await self.real.store([msgspec.structs.replace(change, record=record)])
        return outcomes


class LosesEventsOnConflict(Wrapper):
    """A conflict in a batch takes the events of the others with it."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = await self.real.store(changes)
        if any(outcome.verdict is Verdict.CONFLICT for outcome in outcomes):
            await self._forget([change for change, outcome in zip(changes, outcomes, strict=True) if outcome.ok])
        return outcomes

    async def _forget(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, NewVersion):
                name = change.record.workflow_name
                page = await self.real.list_outbox(name, now=change.record.updated_at + AGES, limit=10_000)
                ids = [waiting.id for waiting in page.events if waiting.event == change.event]
                await self.real.delete_outbox(ids)


class LosesEventsOnCancellation(LosesEventsOnConflict):
    """Writes the record, and its event a moment later."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = await self.real.store(changes)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            await self._forget(changes)
            raise
        return outcomes


class WritesHalfABatch(Wrapper):
    """Has no transaction: what comes before a change that cannot be stored is written."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        if len(changes) == 1:
            return list(await self.real.store(changes))
        for change in changes:
            if isinstance(change, NewVersion) and "\0" in change.record.last_error:
                raise ValueError("last_error: NUL")
            await self.real.store([change])
        return [APPLIED] * len(changes)


class MarksWithoutGuard(Wrapper):
    """Notes a mark on whatever version is there."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store(changes))
        for place, (change, outcome) in enumerate(zip(changes, outcomes, strict=True)):
            if outcome.verdict is Verdict.CONFLICT and outcome.record and isinstance(change, Mark):
                blind = msgspec.structs.replace(change, version=outcome.record.version)
                (outcomes[place],) = await self.real.store([blind])
        return outcomes


class EmitsWithoutGuard(Wrapper):
    """Emits an event of whatever version is there."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes = list(await self.real.store(changes))
        for place, (change, outcome) in enumerate(zip(changes, outcomes, strict=True)):
            if outcome.verdict is Verdict.CONFLICT and outcome.record and isinstance(change, Emit):
                blind = msgspec.structs.replace(change, version=outcome.record.version)
                (outcomes[place],) = await self.real.store([blind])
        return outcomes


class KeepsTheSkip(Wrapper):
    """Carries the skip of one version over to the next."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        before: Mapping[str, Record] = await self.real.lookup([change.run_id for change in changes])
        outcomes: Sequence[Outcome] = await self.real.store(changes)
        for change in changes:
            if isinstance(change, NewVersion) and change.run_id in before and before[change.run_id].skipped:
                await self.real.store([Mark(run_id=change.run_id, version=change.record.version, skipped=True)])
        return outcomes


class ForgetsArmed(Wrapper):
    """Writes `armed` as the writer had read it, instead of keeping its own."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = await self.real.store(changes)
        for change in changes:
            if isinstance(change, NewVersion) and not change.record.armed:
                await self.real.store([Mark(run_id=change.run_id, version=change.record.version, armed=False)])
        return outcomes


class ErasesNothing(Wrapper):
    """Writes the DataDeleted version and leaves the data where it is."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        kept = [msgspec.structs.replace(c, erase=False) if isinstance(c, NewVersion) else c for c in changes]
        return list(await self.real.store(kept))


class KeepsEveryObject(Wrapper):
    """Copies the object into the history of failed attempts too."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        kept = [msgspec.structs.replace(c, keep_object=True) if isinstance(c, NewVersion) else c for c in changes]
        return list(await self.real.store(kept))


class LatestIsTheLastStored(Wrapper):
    """Takes the run that was touched last for the latest."""

    async def latest(self, workflow_name: str, foreign_id: str) -> Record | None:
        query = RecordQuery(workflow_name=workflow_name, foreign_ids=(foreign_id,), limit=1_000)
        records = await self.real.list(query)
        return max(records, key=lambda record: record.updated_at, default=None)


class DescendingPagesOfAscendingRecords(Wrapper):
    """Turns the page around, not the order."""

    async def list(self, query: RecordQuery) -> Sequence[Record]:
        page = list(await self.real.list(msgspec.structs.replace(query, order=Order.ASCENDING)))
        return page[::-1] if query.order is Order.DESCENDING else page


class OutboxNewestFirst(Wrapper):
    """Reads the outbox from its head."""

    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        page = await self.real.list_outbox(workflow_name, now=now, limit=10_000)
        return msgspec.structs.replace(page, events=page.events[::-1][:limit])


class DelayedEventsStarve(Wrapper):
    """Fills a page with immediate events first."""

    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        page = await self.real.list_outbox(workflow_name, now=now, limit=10_000)
        events = sorted(page.events, key=lambda waiting: waiting.due_at is not None)
        return msgspec.structs.replace(page, events=tuple(events[:limit]))


class SendsDelayedEventsAtOnce(Wrapper):
    """Knows no due times."""

    async def list_outbox(self, workflow_name: str, *, now: datetime, limit: int) -> OutboxPage:
        page: OutboxPage = await self.real.list_outbox(workflow_name, now=now + AGES, limit=limit)
        return page


class NeverWakes(Wrapper):
    """Waits for the outbox for ever."""

    async def wait_for_outbox(self, workflow_name: str) -> None:
        await asyncio.Event().wait()


class SweepsWithoutBackOff(Wrapper):
    """Lists a stalled run again however lately it was swept."""

    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        found: Sequence[Record] = await self.real.list_stalled(msgspec.structs.replace(query, now=query.now + AGES))
        return found


class SweepsEverything(Wrapper):
    """Forgets to ask whether a run was skipped or armed."""

    async def list_stalled(self, query: StalledQuery) -> Sequence[Record]:
        asked = (*query.step_statuses, *query.timer_statuses)
        records = await self.real.list(RecordQuery(workflow_name=query.workflow_name, statuses=asked, limit=1_000))
        found = {r.run_id: r for r in records if asked and r.run_state in (1, 2) and r.due_at < query.due_before}
        found |= {r.run_id: r for r in await self.real.list_stalled(query)}
        return sorted(found.values(), key=lambda record: record.due_at)[: query.limit]


class ForgetsWhatTheUserWrites(Wrapper):
    """Moves the run without calling the user's functions."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        bare = [msgspec.structs.replace(c, on_commit=()) if isinstance(c, NewVersion) else c for c in changes]
        return list(await self.real.store(bare))


class SkipsWhatItCannotRead(Wrapper):
    """Loses rows that do not decode, instead of burying them."""

    async def dead_letters(self, workflow_name: str, *, limit: int = 100) -> Sequence[DeadLetter]:
        letters = await self.real.dead_letters(workflow_name, limit=limit)
        return [letter for letter in letters if letter.source != "outbox"]


class RaisesTheDriversErrors(Wrapper):
    """Lets the driver say that the server is gone."""

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        try:
            return list(await self.real.store(changes))
        except Unavailable as error:
            raise ConnectionResetError(*error.args) from error
