# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for `RecordStore.store`: creating and moving runs, by one writer after the other.

`races` holds what several writers do at once, `marks` what is written without a new version, `listing` and `sweeps`
the questions asked about records, `outbox` what is to be sent, `transactions` what users write along.
"""

import msgspec

from workflow.protocols import ALREADY_APPLIED, APPLIED, LIVE, Record, RunState, Verdict

from ._kit import Capability, Subject, cases_of
from ._values import MINUTE, NOW, WORKFLOW, created, moved, one, put, version_of

case = cases_of("records")


@case("R-SUITE-RS-1", "R-SUITE-RS-2", "R-RSTORE-1")
async def what_was_stored_is_read_back_in_every_field(subject: Subject) -> None:
    move = created(
        "run",
        status=7,
        attempt=3,
        due_at=NOW + MINUTE,
        last_error="é\n\ttrace",
        auto_paused=True,
        run_state=RunState.PAUSED,
    )
    assert list(await subject.records.store([move])) == [APPLIED]
    assert await one(subject.records, "run") == move.record
    assert await subject.records.latest(WORKFLOW, move.record.foreign_id) == move.record
    assert list(await subject.records.history("run")) == [version_of(move.record)]


@case("R-SUITE-RS-1", "R-SUITE-RS-3")
async def a_move_replaces_the_record_and_keeps_the_version_before_in_the_history(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run"))
    second = moved(first, status=2)
    assert list(await subject.records.store([second])) == [APPLIED]
    third = moved(second.record, status=3, run_state=RunState.COMPLETED)
    assert list(await subject.records.store([third])) == [APPLIED]
    assert await one(subject.records, "run") == third.record
    assert await subject.records.latest(WORKFLOW, first.foreign_id) == third.record
    assert list(await subject.records.history("run")) == [
        version_of(first),
        version_of(second.record),
        version_of(third.record),
    ]


@case("W-1", "contract: compare-and-swap")
async def a_move_from_a_version_that_is_not_the_present_one_is_a_conflict(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run"))
    second = moved(first)
    await put(subject.records, second)
    for wrong in (moved(first), moved(moved(second.record).record)):
        (outcome,) = await subject.records.store([wrong])
        assert outcome.verdict is Verdict.CONFLICT, f"version {wrong.record.version} on version 2: {outcome}"
        assert outcome.record == second.record, "a conflict carries the present record"
    assert list(await subject.records.history("run")) == [version_of(first), version_of(second.record)]


@case("W-1", "contract: compare-and-swap")
async def a_move_of_a_run_that_does_not_exist_is_a_conflict_without_a_record(subject: Subject) -> None:
    nobody = created("nobody").record
    (outcome,) = await subject.records.store([moved(nobody)])
    assert outcome.verdict is Verdict.CONFLICT, outcome
    assert outcome.record is None, outcome
    assert not await subject.records.lookup(["nobody"])
    assert not await subject.records.history("nobody")


@case("design 4.1: attempt ids")
async def a_move_sent_again_is_already_applied_and_written_once(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run"))
    second = moved(first)
    assert list(await subject.records.store([second])) == [APPLIED]
    assert list(await subject.records.store([second])) == [ALREADY_APPLIED]
    page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=10)
    assert [waiting.event.version for waiting in page.events] == [1, 2]
    assert list(await subject.records.history("run")) == [version_of(first), version_of(second.record)]


@case("design 4.1: attempt ids")
async def a_move_sent_again_is_already_applied_also_when_later_versions_exist(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run"))
    second = moved(first)
    third = moved(second.record)
    fourth = moved(third.record)
    await put(subject.records, second, third, fourth)
    assert list(await subject.records.store([second])) == [ALREADY_APPLIED]
    assert list(await subject.records.store([third])) == [ALREADY_APPLIED]
    assert await one(subject.records, "run") == fourth.record
    page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=10)
    assert [waiting.event.version for waiting in page.events] == [1, 2, 3, 4]


@case("design 4.1: attempt ids")
async def another_attempt_at_a_version_that_was_written_is_a_conflict(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run"))
    second = moved(first)
    await put(subject.records, second)
    (outcome,) = await subject.records.store([moved(first)])
    assert outcome.verdict is Verdict.CONFLICT, outcome
    nameless = msgspec.structs.replace(second, record=msgspec.structs.replace(second.record, attempt_id=""))
    (outcome,) = await subject.records.store([nameless])
    assert outcome.verdict is Verdict.CONFLICT, f"no attempt id is nobody's: {outcome}"


@case("design 4.11: idempotent trigger")
async def a_run_created_again_by_its_attempt_id_is_already_applied(subject: Subject) -> None:
    move = created("run")
    (first,) = await put(subject.records, move)
    assert list(await subject.records.store([move])) == [ALREADY_APPLIED]
    await put(subject.records, moved(first))
    assert list(await subject.records.store([move])) == [ALREADY_APPLIED]
    assert [record.version for record in await subject.records.history("run")] == [1, 2]


@case("design 4.11: idempotent trigger")
async def the_attempt_id_of_a_run_is_looked_at_before_its_foreign_id(subject: Subject) -> None:
    # the run finished, and another holds the foreign ID: the trigger that made the first must still hear that it did
    old = created("old", "shared")
    (first,) = await put(subject.records, old)
    await put(subject.records, moved(first, run_state=RunState.COMPLETED), created("new", "shared"))
    assert list(await subject.records.store([old])) == [ALREADY_APPLIED]


@case("contract: create")
async def a_run_id_taken_by_another_attempt_is_a_conflict(subject: Subject) -> None:
    (present,) = await put(subject.records, created("run", "one"))
    (outcome,) = await subject.records.store([created("run", "two", attempt_id="somebody else")])
    assert outcome.verdict is Verdict.CONFLICT, outcome
    assert outcome.record == present, outcome
    assert await subject.records.latest(WORKFLOW, "two") is None


@case("W-1", "W-17", "design 4.11: one live run")
async def a_second_live_run_of_one_foreign_id_is_refused(subject: Subject) -> None:
    for state in sorted(LIVE):
        foreign_id = f"held while {state}"
        (holder,) = await put(subject.records, created(f"holder {state}", foreign_id, run_state=state))
        (outcome,) = await subject.records.store([created(f"second {state}", foreign_id)])
        assert outcome.verdict is Verdict.IN_PROGRESS, f"{state}: {outcome}"
        assert outcome.record == holder, "in progress carries the live run"
        assert not await subject.records.lookup([f"second {state}"])
        assert not await subject.records.history(f"second {state}")
    page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=10)
    assert len(page.events) == len(LIVE), "a run that was refused leaves no event"


@case("design 4.11: one live run")
async def two_runs_of_one_foreign_id_in_one_batch_are_one_run(subject: Subject) -> None:
    outcomes = await subject.records.store([created("a", "shared"), created("other"), created("b", "shared")])
    verdicts = [outcome.verdict for outcome in outcomes]
    assert verdicts[1] is Verdict.APPLIED, verdicts
    assert sorted(v.name for v in (verdicts[0], verdicts[2])) == ["APPLIED", "IN_PROGRESS"], verdicts
    winner, loser = ("a", "b") if verdicts[0] is Verdict.APPLIED else ("b", "a")
    live = await subject.records.latest(WORKFLOW, "shared")
    assert live is not None
    assert live.run_id == winner
    assert not await subject.records.lookup([loser])


@case("design 4.11: one live run")
async def a_finished_run_frees_its_foreign_id(subject: Subject) -> None:
    finished = [state for state in RunState if state.valid and state.finished]
    for state in finished:
        foreign_id = f"freed by {state}"
        (first,) = await put(subject.records, created(f"first {state}", foreign_id))
        await put(subject.records, moved(first, run_state=state))
        assert list(await subject.records.store([created(f"second {state}", foreign_id)])) == [APPLIED]


@case("design 4.11: one live run")
async def the_same_foreign_id_in_another_workflow_is_free(subject: Subject) -> None:
    await put(subject.records, created("one", "shared"), created("two", "shared", workflow_name="another workflow"))
    ours, theirs = [await subject.records.latest(name, "shared") for name in (WORKFLOW, "another workflow")]
    assert ours is not None
    assert theirs is not None
    assert (ours.run_id, theirs.run_id) == ("one", "two")


@case("design 4.11: one live run")
async def a_run_may_be_finished_as_it_is_created(subject: Subject) -> None:
    done = created("done", "shared", run_state=RunState.COMPLETED)
    assert list(await subject.records.store([done])) == [APPLIED]
    assert list(await subject.records.store([created("next", "shared")])) == [APPLIED]


@case("R-RSTORE-3", "W-17", "W-17b", "design 4.11: latest")
async def latest_is_the_live_run_else_the_one_created_last_by_the_stores_own_sequence(subject: Subject) -> None:
    runs: list[Record] = []
    for number in range(4):
        # every run claims to be older than the one before it: clocks do not decide
        before = NOW.replace(year=2020 - number)
        (record,) = await put(subject.records, created(f"{9 - number}", "shared", created_at=before, updated_at=before))
        latest = await subject.records.latest(WORKFLOW, "shared")
        assert latest == record, "the live run is the latest"
        (record,) = await put(subject.records, moved(record, run_state=RunState.COMPLETED))
        runs.append(record)
    assert await subject.records.latest(WORKFLOW, "shared") == runs[-1]
    await put(subject.records, moved(runs[0], run_state=RunState.REQUESTED_DATA_DELETED))
    assert await subject.records.latest(WORKFLOW, "shared") == runs[-1], "an old run that is touched stays old"


@case("R-RSTORE-3", "R-SUITE-GAP")
async def unknown_ids_give_nothing_and_no_error(subject: Subject) -> None:
    await put(subject.records, created("known"))
    assert await subject.records.latest(WORKFLOW, "unknown") is None
    assert await subject.records.latest("unknown workflow", "foreign of known") is None
    assert set(await subject.records.lookup(["unknown", "known"])) == {"known"}
    assert not await subject.records.lookup([])
    assert not await subject.records.history("unknown")
    assert await subject.records.first_version_at("unknown", 1) is None
    assert await subject.records.find_attempt("unknown", "unknown") is None


@case("R-RSTORE-2", "R-SUITE-GAP")
async def many_runs_are_looked_up_in_one_call(subject: Subject) -> None:
    await subject.records.store([created(f"run {number}") for number in range(50)])
    wanted = [f"run {number}" for number in range(0, 100, 2)]
    found = await subject.records.lookup(wanted + wanted)
    assert set(found) == {f"run {number}" for number in range(0, 50, 2)}
    assert all(run_id == record.run_id for run_id, record in found.items())


@case("design 4.13: passed")
async def passed_is_the_first_version_that_has_the_status(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    for status in (1, 5, 1, 5, 9):
        (record,) = await put(subject.records, moved(record, status=status))
    assert [await subject.records.first_version_at("run", status) for status in (1, 5, 9, 7)] == [1, 3, 6, None]


@case("design 4.9: a timer found in the history")
async def find_attempt_is_the_version_that_the_attempt_wrote(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    await put(subject.records, moved(record, attempt_id="timer 1"), created("other"))
    assert await subject.records.find_attempt("run", "run") == 1
    assert await subject.records.find_attempt("run", "timer 1") == 2
    assert await subject.records.find_attempt("run", "timer 2") is None
    assert await subject.records.find_attempt("other", "timer 1") is None


@case("design 4.5: no copy of the object")
async def a_history_row_without_its_object_leaves_the_record_its_object(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run", object=b"first"))
    failed = moved(first, object=b"second", last_error="boom", attempt=2)
    await put(subject.records, msgspec.structs.replace(failed, keep_object=False))
    assert await one(subject.records, "run") == failed.record
    history = await subject.records.history("run")
    assert [record.object for record in history] == [b"first", b""]
    assert history[1].last_error == "boom"


@case("contract: store", "design 4.1: group commit")
async def a_batch_of_five_hundred_is_answered_one_by_one_in_order(subject: Subject) -> None:
    firsts = [created(f"run {number:03}") for number in range(500)]
    assert list(await subject.records.store(firsts)) == [APPLIED] * 500
    batch = [moved(move.record) for move in firsts]
    for number in range(0, 500, 10):
        stale = msgspec.structs.replace(batch[number].record, version=9)
        batch[number] = msgspec.structs.replace(batch[number], record=stale)
    outcomes = await subject.records.store(batch)
    wanted = [Verdict.CONFLICT if number % 10 == 0 else Verdict.APPLIED for number in range(500)]
    assert [outcome.verdict for outcome in outcomes] == wanted
    found = await subject.records.lookup([move.run_id for move in firsts])
    for first, move, verdict in zip(firsts, batch, wanted, strict=True):
        record = move.record if verdict is Verdict.APPLIED else first.record
        assert found[move.run_id] == record, "each outcome is about the change at its own place"


@case("contract: store")
async def a_batch_of_nothing_is_no_error(subject: Subject) -> None:
    assert list(await subject.records.store([])) == []


@case("contract: store", "R-SUITE-GAP", needs=[Capability.SECOND_INSTANCE])
async def what_one_process_wrote_every_other_reads_at_once(subject: Subject) -> None:
    there = (await subject.another()).record_store
    (record,) = await put(subject.records, created("run"))
    for _ in range(10):
        assert await one(there, "run") == record
        (record,) = await put(there, moved(record))
        assert await one(subject.records, "run") == record
        assert await there.latest(WORKFLOW, record.foreign_id) == record
    assert len(await there.history("run")) == 11


@case("contract: store", needs=[Capability.REOPENING])
async def what_was_acknowledged_is_there_after_reopening(subject: Subject) -> None:
    (first,) = await put(subject.records, created("run"))
    (second,) = await put(subject.records, moved(first))
    await subject.reopen()
    assert await one(subject.records, "run") == second
    assert list(await subject.records.history("run")) == [version_of(first), version_of(second)]
    page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=10)
    assert [waiting.event.version for waiting in page.events] == [1, 2]


@case("contract: store", needs=[Capability.REOPENING, Capability.CRASHING])
async def what_was_acknowledged_is_there_after_a_crash(subject: Subject) -> None:
    moves = [created(f"run {number}") for number in range(50)]
    await subject.records.store(moves)
    await subject.crash(subject.backend)
    await subject.start()
    assert set(await subject.records.lookup([move.run_id for move in moves])) == {move.run_id for move in moves}
    page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=100)
    assert len(page.events) == 50
