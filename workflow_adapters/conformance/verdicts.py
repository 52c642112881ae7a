# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for the verdicts of `Runs.store`: each change of a batch is judged by itself.

`takes` holds the verdicts of versions that deliver held callbacks, `races` the verdicts of several writers at once.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from workflow.protocols import ALREADY_APPLIED, APPLIED, Change, NewVersion, Note, Outcome, Record, RunState, Verdict

from ._kit import Capability, Subject, cases_of
from ._values import MINUTE, NOW, WORKFLOW, created, moved, one, put, settled

case = cases_of("records")

_Poison = Callable[[NewVersion], NewVersion]


class _UsersError(Exception):
    """Raised by a user's function."""


def _failing(change: NewVersion) -> NewVersion:
    def fails(*_: object) -> None:
        raise _UsersError(f"the function of {change.run_id} fails")

    return msgspec.structs.replace(change, on_commit=(fails,))


def _with_nul(change: NewVersion) -> NewVersion:
    foreign_id = f"{change.record.foreign_id}\0"
    return msgspec.structs.replace(change, record=msgspec.structs.replace(change.record, foreign_id=foreign_id))


def _too_large(change: NewVersion) -> NewVersion:
    record = msgspec.structs.replace(change.record, status=2**70)
    return msgspec.structs.replace(change, record=record)


async def _poisons(subject: Subject) -> Sequence[_Poison]:
    """The faults in a change that this store refuses: a failing function always, some values on most stores."""
    found: list[_Poison] = [_failing]
    for poison in (_with_nul, _too_large):
        (outcome,) = await settled(subject.records, poison(created(f"alone {poison.__name__}")))
        if outcome.verdict is Verdict.REFUSED:
            found.append(poison)
        else:
            assert outcome == APPLIED, f"{poison.__name__}: {outcome}"
    return found


def _verdicts(outcomes: Sequence[Outcome]) -> list[Verdict]:
    return [outcome.verdict for outcome in outcomes]


async def _is_unwritten(subject: Subject, change: NewVersion) -> None:
    run_id = change.run_id
    assert run_id not in await subject.records.lookup([run_id]), f"{run_id} was refused, but it is found"
    assert not await subject.records.history(run_id), f"{run_id} was refused, but it has a history"
    assert await subject.records.latest(WORKFLOW, f"foreign of {run_id}") is None, f"{run_id} holds its foreign ID"
    page = await subject.records.list_outbox(WORKFLOW, now=NOW + MINUTE, limit=10_000)
    assert run_id not in {waiting.event.run_id for waiting in page.events}, f"{run_id} was refused, but sends an event"


async def _is_written(subject: Subject, record: Record) -> None:
    assert await one(subject.records, record.run_id) == record
    assert len(await subject.records.history(record.run_id)) == record.version
    page = await subject.records.list_outbox(WORKFLOW, now=NOW + MINUTE, limit=10_000)
    sent = [waiting.event.version for waiting in page.events if waiting.event.run_id == record.run_id]
    assert sent == list(range(1, record.version + 1)), f"{record.run_id}: events of the versions {sent}"


@case("contract: store", "contract: verdicts")
async def each_change_of_a_batch_gets_its_own_verdict_at_its_own_place(subject: Subject) -> None:
    records = await put(subject.records, *(created(f"present {number}") for number in range(5)))
    holder, stale, again, noted, going = records
    second = moved(again)
    await put(subject.records, moved(stale), second)
    for poison in await _poisons(subject):
        number = poison.__name__
        good, last = created(f"good {number}"), moved(going)
        batch: list[Change] = [
            moved(stale),
            good,
            poison(created(f"bad {number}")),
            created(f"rival {number}", holder.foreign_id),
            second,
            Note(run_id=noted.run_id, version=1, skipped=True),
            Note(run_id="unknown", version=1, skipped=True),
            last,
        ]
        outcomes = await settled(subject.records, *batch)
        assert _verdicts(outcomes) == [
            Verdict.CONFLICT,
            Verdict.APPLIED,
            Verdict.REFUSED,
            Verdict.IN_PROGRESS,
            Verdict.ALREADY_APPLIED,
            Verdict.APPLIED,
            Verdict.CONFLICT,
            Verdict.APPLIED,
        ], f"{number}: {outcomes}"
        assert [outcome.record for outcome in (outcomes[0], outcomes[3], outcomes[6])] == [
            await one(subject.records, stale.run_id),
            holder,
            None,
        ]
        await _is_written(subject, good.record)
        await _is_written(subject, last.record)
        going = last.record
        await _is_unwritten(subject, created(f"bad {number}"))
        assert (await one(subject.records, noted.run_id)).marks.skipped


@case("contract: store", "contract: verdicts")
async def refused_changes_leave_their_neighbours_alone_wherever_they_are(subject: Subject) -> None:
    for poison in await _poisons(subject):
        for places in ((0,), (2,), (5,), (0, 1, 2), (1, 3, 5), (0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5)):
            changes = [created(f"{poison.__name__} {places} {place}") for place in range(6)]
            batch = [poison(change) if place in places else change for place, change in enumerate(changes)]
            outcomes = await settled(subject.records, *batch)
            wanted = [Verdict.REFUSED if place in places else Verdict.APPLIED for place in range(6)]
            assert _verdicts(outcomes) == wanted, f"{poison.__name__} at {places}: {outcomes}"
            found = await subject.records.lookup([change.run_id for change in changes])
            good = {change.run_id: change.record for place, change in enumerate(changes) if place not in places}
            assert dict(found) == good, f"{poison.__name__} at {places}"


@case("contract: store", "contract: verdicts")
async def a_large_batch_of_mixed_changes_is_answered_in_order(subject: Subject) -> None:
    poisons = await _poisons(subject)
    present = [created(f"present {number:03}") for number in range(100)]
    assert list(await settled(subject.records, *present)) == [APPLIED] * 100
    batch: list[Change] = []
    wanted: list[Verdict] = []
    for number, first in enumerate(present):
        bad = poisons[number % len(poisons)](created(f"bad {number:03}"))
        stale = Note(run_id=first.run_id, version=7, timers_armed=True)
        note = Note(run_id=first.run_id, version=1, timers_armed=True)
        batch += [created(f"new {number:03}"), bad, stale if number % 3 else note]
        wanted += [Verdict.APPLIED, Verdict.REFUSED, Verdict.CONFLICT if number % 3 else Verdict.APPLIED]
    assert _verdicts(await settled(subject.records, *batch)) == wanted
    found = await subject.records.lookup([change.run_id for change in batch])
    assert set(found) == {f"new {number:03}" for number in range(100)} | {first.run_id for first in present}
    armed = [found[first.run_id].marks.timers_armed for first in present]
    assert armed == [number % 3 == 0 for number in range(100)]


@case("contract: store", "contract: verdicts")
async def a_refused_change_says_which_field_has_which_value(subject: Subject) -> None:
    for poison in await _poisons(subject):
        outcomes = await settled(subject.records, created(f"beside {poison.__name__}"), poison(created("bad")))
        error = outcomes[1].error
        assert isinstance(error, Exception), f"{poison.__name__}: refused without an error: {outcomes[1]}"
        if poison is _failing:
            own = isinstance(error, _UsersError)
            assert own or Capability.ON_COMMIT in subject.factory.lacks, f"not the error of the function: {error!r}"
        else:
            field, value = ("foreign_id", "foreign of bad") if poison is _with_nul else ("status", str(2**70))
            assert field in str(error), f"the error does not name the field {field}: {error!r}"
            assert value in str(error), f"the error does not show the value {value}: {error!r}"
        assert all(outcome.error is None for outcome in outcomes[:1]), outcomes


@case("contract: store", "contract: verdicts")
async def a_refused_change_leaves_no_trace_and_may_be_mended(subject: Subject) -> None:
    for poison in await _poisons(subject):
        first = created(f"run {poison.__name__}")
        (outcome,) = await settled(subject.records, poison(first))
        assert outcome.verdict is Verdict.REFUSED, outcome
        await _is_unwritten(subject, first)
        assert list(await settled(subject.records, first)) == [APPLIED], "the same attempt, without the fault"
        second = moved(first.record)
        bad = (
            _failing(second) if poison is _with_nul else poison(second)
        )  # a later version may not write its foreign ID
        outcomes = await settled(subject.records, created(f"beside {poison.__name__}"), bad)
        assert _verdicts(outcomes) == [Verdict.APPLIED, Verdict.REFUSED], outcomes
        await _is_written(subject, first.record)
        assert list(await settled(subject.records, second)) == [APPLIED]
        assert list(await settled(subject.records, second)) == [ALREADY_APPLIED]
        await _is_written(subject, second.record)


@case("contract: store", "contract: verdicts", needs=[Capability.ON_COMMIT])
async def a_failing_function_undoes_its_own_change_only(subject: Subject) -> None:
    def writing(change: NewVersion, value: str) -> NewVersion:
        return msgspec.structs.replace(change, on_commit=(subject.factory.business_write(value),))

    bad = writing(created("bad"), "of the bad one")
    failing = _failing(bad).on_commit
    bad = msgspec.structs.replace(bad, on_commit=(*bad.on_commit, *failing))
    batch = [writing(created("a"), "of a"), bad, created("plain"), writing(created("b"), "of b")]
    outcomes = await settled(subject.records, *batch)
    assert _verdicts(outcomes) == [Verdict.APPLIED, Verdict.REFUSED, Verdict.APPLIED, Verdict.APPLIED], outcomes
    assert isinstance(outcomes[1].error, _UsersError), f"not the error of the function: {outcomes[1].error!r}"
    assert sorted(await subject.factory.business_rows()) == ["of a", "of b"]
    await _is_unwritten(subject, bad)


@case("contract: store", "contract: verdicts", needs=[Capability.JOINED_TRANSACTIONS])
async def a_held_row_is_busy_and_the_rest_of_its_batch_is_judged(subject: Subject) -> None:
    poisons = await _poisons(subject)
    held, free, stale = await put(subject.records, created("held"), created("free"), created("stale"))
    await put(subject.records, moved(stale))
    locked, release = asyncio.Event(), asyncio.Event()

    async def user() -> None:
        async with subject.factory.transaction(subject.backend):
            await subject.records.store([moved(held)])
            locked.set()
            await release.wait()

    holding = asyncio.ensure_future(user())
    try:
        await locked.wait()
        for poison in poisons:
            bad = poison(created(f"bad {poison.__name__}"))
            rival = created(f"rival {poison.__name__}", free.foreign_id)
            good = created(f"good {poison.__name__}")
            outcomes = await subject.records.store([bad, moved(held), good, moved(stale), rival])
            assert _verdicts(outcomes) == [
                Verdict.REFUSED,
                Verdict.BUSY,
                Verdict.APPLIED,
                Verdict.CONFLICT,
                Verdict.IN_PROGRESS,
            ], f"{poison.__name__}: {outcomes}"
            await _is_written(subject, good.record)
        assert await one(subject.records, "held") == held, "unwritten while it is busy"
    finally:
        release.set()
        await holding


@case("contract: one live run", "design 4.11: one live run")
async def a_finished_run_is_live_again_only_while_its_foreign_id_is_free(subject: Subject) -> None:
    (first,) = await put(subject.records, created("old", "shared"))
    (done,) = await put(subject.records, moved(first, run_state=RunState.COMPLETED))
    (holder,) = await put(subject.records, created("new", "shared"))
    for state in (RunState.RUNNING, RunState.PAUSED):
        outcomes = await settled(subject.records, created(f"beside {state}"), moved(done, run_state=state))
        assert outcomes[0] == APPLIED
        assert outcomes[1].verdict is Verdict.IN_PROGRESS, f"two runs of one foreign ID are live: {outcomes[1]}"
        assert outcomes[1].record == holder
    assert await one(subject.records, "old") == done
    assert len(await subject.records.history("old")) == 2
    await put(subject.records, moved(holder, run_state=RunState.CANCELLED))
    again = moved(done, run_state=RunState.RUNNING)
    assert list(await settled(subject.records, again)) == [APPLIED]
    assert await subject.records.latest(WORKFLOW, "shared") == again.record, "the live run is the latest"
    (outcome,) = await settled(subject.records, created("third", "shared"))
    assert outcome.verdict is Verdict.IN_PROGRESS, outcome
    assert outcome.record == again.record


@case("contract: one live run", "design 4.11: one live run")
async def of_two_runs_that_become_live_in_one_batch_one_is_in_progress(subject: Subject) -> None:
    for turn in range(4):
        foreign_id = f"shared {turn}"
        (first,) = await put(subject.records, created(f"old {turn}", foreign_id))
        (done,) = await put(subject.records, moved(first, run_state=RunState.COMPLETED))
        again, fresh = moved(done, run_state=RunState.RUNNING), created(f"new {turn}", foreign_id)
        outcomes = await settled(subject.records, *((again, fresh) if turn % 2 else (fresh, again)))
        assert sorted(v.name for v in _verdicts(outcomes)) == ["APPLIED", "IN_PROGRESS"], outcomes
        records = await subject.records.lookup([f"old {turn}", f"new {turn}"])
        live = [record for record in records.values() if record.run_state.live]
        assert len(live) == 1, live
        assert next(outcome.record for outcome in outcomes if outcome.record) == live[0]


def _of_another_history(record: Record) -> Record:
    """The same version as another history has it: the store went back in time, and went on in another way."""
    return msgspec.structs.replace(record, attempt_id=f"{record.attempt_id}, elsewhere")


@case("contract: compare-and-swap", "design: rewinds")
async def a_version_made_from_another_of_the_same_number_is_a_conflict(subject: Subject) -> None:
    first, second = await put(subject.records, created("run"), created("second"))
    lost = moved(_of_another_history(first))
    for batch in ([lost], [lost, moved(second)]):
        outcome, *others = await settled(subject.records, *batch)
        assert outcome == Outcome(Verdict.CONFLICT, first), outcome
        assert all(other.verdict is Verdict.APPLIED for other in others)
    assert await one(subject.records, "run") == first
    assert len(await subject.records.history("run")) == 1
    await put(subject.records, moved(first))


@case("contract: compare-and-swap", "design: rewinds")
async def a_note_on_another_version_of_the_same_number_is_a_conflict(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    other = _of_another_history(record)
    for note in (
        Note(run_id="run", version=1, base_attempt=other.attempt_id, skipped=True),
        Note(run_id="run", version=1, base_attempt=other.attempt_id, event=created("run").event),
    ):
        (outcome,) = await settled(subject.records, note)
        assert outcome == Outcome(Verdict.CONFLICT, record), outcome
    assert len((await subject.records.list_outbox(WORKFLOW, now=NOW, limit=10)).events) == 1
    note = Note(run_id="run", version=1, base_attempt=record.attempt_id, skipped=True)
    assert list(await settled(subject.records, note)) == [APPLIED]
    assert (await one(subject.records, "run")).marks.skipped


@case("contract: compare-and-swap")
async def a_change_that_names_no_attempt_is_judged_by_the_number_alone(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    blind = msgspec.structs.replace(moved(record), base_attempt="")
    assert list(await settled(subject.records, blind)) == [APPLIED]
