"""The store's verdicts, one by one: what becomes of the change, of its waiter, and of the others in the batch."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from workflow._engine.commits import Commits
from workflow._engine.log import SafeLogger
from workflow._model.change import BUSY, UNKNOWN, Change, NewVersion, Note, Outcome, Verdict, refused
from workflow.errors import BackendNotOpen, OutcomeUnknown, Unavailable
from workflow_adapters.conformance._values import created, moved
from workflow_adapters.memory import MemoryRecordStore

LOGGER = SafeLogger(logging.getLogger("test.commits"))


class Judging(MemoryRecordStore):
    """A store that answers as it is told for some runs, once for each answer, and notes the batches.

    Attributes:
        answers: by run ID. `written` says that an UNKNOWN change was written all the same.
        errors: raised for whole batches, before anything is written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, deque[Outcome]] = {}
        self.written: set[str] = set()
        self.errors: deque[Exception] = deque()
        self.batches: list[list[str]] = []
        self.attempts: dict[str, set[str]] = {}

    async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        self.batches.append([change.run_id for change in changes])
        for change in changes:
            if isinstance(change, NewVersion):
                self.attempts.setdefault(change.run_id, set()).add(change.record.attempt_id)
        if self.errors:
            raise self.errors.popleft()
        outcomes: list[Outcome] = []
        for change in changes:
            answers = self.answers.get(change.run_id)
            if not answers:
                outcomes += await super().store([change])
                continue
            if change.run_id in self.written:
                await super().store([change])
            outcomes.append(answers.popleft())
        return outcomes


def commits(
    store: MemoryRecordStore, applied: list[NewVersion] | None = None, rewound: list[str] | None = None
) -> Commits:
    heard: list[NewVersion] = [] if applied is None else applied
    signs: list[str] = [] if rewound is None else rewound
    return Commits(store, heard.append, signs.append, lambda: 0.5, LOGGER)


async def test_a_refused_change_fails_its_waiter_alone() -> None:
    store = Judging()
    why = ValueError("foreign_id must not contain NUL")
    store.answers["bad"] = deque([refused(why)])
    applied: list[NewVersion] = []
    group = commits(store, applied)
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(
            *(group.apply(created(run_id)) for run_id in ("before", "bad", "after")), return_exceptions=True
        )
    assert outcomes[1] is why
    assert [outcome.verdict for outcome in outcomes[::2] if isinstance(outcome, Outcome)] == [Verdict.APPLIED] * 2
    assert store.batches == [["before", "bad", "after"]]
    assert [change.run_id for change in applied] == ["before", "after"]


async def test_a_refusal_without_a_reason_is_an_error_too() -> None:
    store = Judging()
    store.answers["bad"] = deque([Outcome(Verdict.REFUSED)])
    with pytest.raises(ValueError, match="did not say why"):
        await commits(store).apply(created("bad"))


@pytest.mark.parametrize("verdict", [BUSY, UNKNOWN], ids=lambda outcome: outcome.verdict.name)
async def test_a_change_without_an_answer_is_sent_again_alone_and_holds_back_no_other(verdict: Outcome) -> None:
    store = Judging()
    store.answers["slow"] = deque([verdict] * 3)
    applied: list[NewVersion] = []
    group = commits(store, applied)
    async with asyncio.timeout(10):
        slow = asyncio.ensure_future(group.apply(created("slow")))
        others = [await group.apply(created(run_id)) for run_id in ("one", "two")]
        assert all(other.ok for other in others)
        assert not slow.done()
        assert (await slow).verdict is Verdict.APPLIED
        await group.flush()
    assert [change.run_id for change in applied] == ["one", "two", "slow"]
    alone = [batch for batch in store.batches if "slow" in batch][1:]
    assert alone == [["slow"]] * 3


@pytest.mark.parametrize("verdict", [BUSY, UNKNOWN], ids=lambda outcome: outcome.verdict.name)
async def test_what_is_sent_again_is_the_same_attempt(verdict: Outcome) -> None:
    store = Judging()
    store.answers["run"] = deque([verdict, verdict])
    async with asyncio.timeout(10):
        await commits(store).apply(created("run"))
    assert store.attempts == {"run": {"run"}}
    assert len(store.batches) == 3


async def test_an_unknown_change_that_was_written_is_found_to_be_applied_already_and_written_once() -> None:
    store = Judging()
    store.answers["run"] = deque([UNKNOWN])
    store.written.add("run")
    applied: list[NewVersion] = []
    async with asyncio.timeout(10):
        outcome = await commits(store, applied).apply(created("run"))
    assert outcome.verdict is Verdict.ALREADY_APPLIED
    assert outcome.ok
    assert len(await store.history("run")) == 1
    assert applied == [], "what another may have written is not handed on"


async def test_a_batch_of_unknown_outcome_is_sent_again_in_parts_that_grow() -> None:
    store = Judging()
    store.errors += [OutcomeUnknown("cut off"), Unavailable("away")]
    group = commits(store)
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(*(group.apply(created(run_id)) for run_id in ("one", "two")))
    assert [outcome.verdict for outcome in outcomes] == [Verdict.APPLIED] * 2
    # "two" gets through, so the store is there, and "one" goes on alone.
    assert store.batches == [["one", "two"], ["one"], ["two"], ["one"]]


async def test_a_conflict_and_a_run_in_progress_are_answers() -> None:
    store = MemoryRecordStore()
    group = commits(store)
    async with asyncio.timeout(10):
        await group.apply(created("run", "key"))
        conflict = await group.apply(Note(run_id="run", version=7, skipped=True))
        in_progress = await group.apply(created("another", "key"))
    assert (conflict.verdict, in_progress.verdict) == (Verdict.CONFLICT, Verdict.IN_PROGRESS)
    assert conflict.record is not None
    assert in_progress.record is not None
    assert (conflict.record.version, in_progress.record.run_id) == (1, "run")


async def test_a_backend_that_is_not_open_fails_every_waiter_at_once() -> None:
    store = Judging()
    store.errors.append(BackendNotOpen("enter it"))
    group = commits(store)
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(
            *(group.apply(created(run_id)) for run_id in ("one", "two")), return_exceptions=True
        )
    assert [type(outcome) for outcome in outcomes] == [BackendNotOpen] * 2
    assert len(store.batches) == 1


@pytest.mark.parametrize(
    ("outcome", "error"),
    [(Unavailable("away"), Unavailable), (OutcomeUnknown("cut"), OutcomeUnknown), (UNKNOWN, OutcomeUnknown)],
    ids=["unavailable", "outcome unknown", "verdict unknown"],
)
async def test_patience_ends_with_what_is_known(outcome: Outcome | Exception, error: type[Exception]) -> None:
    """Unavailable promises that nothing was written; a change that may have been written is of unknown outcome."""
    store = Judging()
    if isinstance(outcome, Outcome):
        store.answers["run"] = deque([outcome] * 100)
    else:
        store.errors += [outcome] * 100
    group = commits(store)
    with pytest.raises(error) as caught:
        await group.apply(created("run"), timedelta(milliseconds=200))
    assert getattr(caught.value, "run_id", None) == "run"
    store.answers.clear()
    store.errors.clear()
    async with asyncio.timeout(10):
        await group.flush()


@pytest.mark.parametrize("outcome", [OutcomeUnknown("cut"), UNKNOWN], ids=["outcome unknown", "verdict unknown"])
async def test_a_change_that_may_be_written_stays_of_unknown_outcome_when_the_store_goes_away(
    outcome: Outcome | Exception,
) -> None:
    store = Judging()
    if isinstance(outcome, Outcome):
        store.answers["run"] = deque([outcome])
    else:
        store.errors.append(outcome)
    group = commits(store)
    asking = asyncio.ensure_future(group.apply(created("run"), timedelta(milliseconds=300)))
    async with asyncio.timeout(10):
        while not store.batches:
            await asyncio.sleep(0)
    store.errors += [Unavailable("the disk is out")] * 100
    with pytest.raises(OutcomeUnknown, match="the disk is out"):
        await asking
    store.errors.clear()
    async with asyncio.timeout(10):
        await group.flush()


async def test_a_function_in_the_transaction_goes_in_a_batch_of_its_own() -> None:
    store = Judging()
    group = commits(store)
    change = created("run")
    with_function = NewVersion(record=change.record, event=change.event, on_commit=(print,))
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(
            group.apply(created("other")), group.apply(with_function), return_exceptions=True
        )
    assert sorted(store.batches) == [["other"], ["run"]]
    assert isinstance(outcomes[1], TypeError), "the memory store has no transaction"
    assert isinstance(outcomes[0], Outcome)


async def test_a_change_made_from_a_version_beyond_the_stores_is_a_sign_of_a_rewind() -> None:
    store, rewound = MemoryRecordStore(), []  # type: ignore[var-annotated]
    group = commits(store, rewound=rewound)
    first = created("run")
    assert (await group.apply(first)).ok
    ahead = msgspec.structs.replace(first.record, version=4)
    for change in (moved(ahead), Note(run_id="run", version=3, skipped=True), Note(run_id="gone", version=1)):
        assert (await group.apply(change)).verdict is Verdict.CONFLICT
    assert len(rewound) == 3
    assert "'run' was at version 4, and is at 1 now" in rewound[0]
    assert (await group.apply(moved(first.record))).ok
    late = moved(first.record)
    assert (await group.apply(late)).verdict is Verdict.CONFLICT
    assert len(rewound) == 3, "somebody else was faster: nothing went back"
