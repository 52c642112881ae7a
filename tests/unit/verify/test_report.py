"""Checking a whole store: what is read, compared, counted and reported."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import IntEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.unit.verify.histories import NOW, SCRIPT, SECOND, at, follow, graph, play, triggered
from workflow import Builder, Run
from workflow._model.change import Change, Outcome
from workflow._model.page import Page
from workflow._model.query import RecordQuery
from workflow._model.record import Record, Version
from workflow._model.run_state import RUNNABLE, RunState
from workflow.verify import Duties, Rule, check_history, verify
from workflow_adapters.memory import MemoryBackend, MemoryRecordStore


def verbs(record: Record) -> list[str]:
    """What may happen to a run next."""
    state = record.run_state
    if state in RUNNABLE:
        return ["fail", "repeat", "pause", "auto-pause", "cancel", *map(str, graph().transitions(record.status))]
    if state is RunState.PAUSED:
        return ["resume", "cancel"]
    return ["erase", "fail"] if state is RunState.REQUESTED_DATA_DELETED else ["ask"]


@settings(max_examples=100, deadline=None)
@given(st.data())
async def test_every_history_that_the_engines_rules_make_is_accepted(data: st.DataObject) -> None:
    """Design, section 1: the promise."""
    store = MemoryRecordStore()
    move = triggered(status=data.draw(st.sampled_from([1, 2, 3])))
    await store.store([move])
    for number in range(data.draw(st.integers(0, 12))):
        move = follow(move.record, data.draw(st.sampled_from(verbs(move.record))), f"a{number}")
        assert [outcome.ok for outcome in await store.store([move])] == [True]
    assert check_history(await store.history("r"), graph(), record=move.record) == []
    report = await verify(store, "w", graph=graph(), acknowledged={"r": move.record.version})
    assert report.ok, str(report)


class Tampered(MemoryRecordStore):
    """A store that was damaged: `histories` and `records` stand instead of what was stored."""

    def __init__(self) -> None:
        super().__init__()
        self.histories: dict[str, Sequence[Version]] = {}
        self.records: dict[str, Record | None] = {}

    async def history(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Version]:
        return self.histories.get(run_id, await super().history(run_id, after=after, limit=limit))

    async def lookup(self, run_ids: Sequence[str]) -> Mapping[str, Record]:
        found = {**await super().lookup(run_ids)}
        return {k: v for k in run_ids if (v := self.records.get(k, found.get(k))) is not None}

    async def list(self, query: RecordQuery) -> Page[Record]:
        page = await super().list(query)
        return Page([self.records.get(record.run_id) or record for record in page], page.next)


async def rules(store: MemoryRecordStore, **asked: object) -> list[Rule]:
    report = await verify(store, "w", graph=graph(), **asked)  # type: ignore[arg-type]
    return [violation.rule for violation in report.violations]


@pytest.mark.parametrize(
    "changes",
    [{"status": 1}, {"run_state": RunState.PAUSED}, {"attempt": 7}, {"version": 9}, {"visit": 1}, {"foreign_id": "x"}],
)
async def test_a_record_that_differs_from_its_history_is_found(changes: dict[str, object]) -> None:
    store = Tampered()
    record = await play(store, "2")
    store.records["r"] = replace(record, **changes)
    assert set(await rules(store)) == {Rule.RECORD}


async def test_a_record_behind_its_history_is_found() -> None:
    store = Tampered()
    before = await play(store, "2")
    await store.store([follow(before, "fail", "later")])
    store.records["r"] = before
    assert await rules(store) == [Rule.RECORD]


async def test_a_run_that_moves_while_it_is_read_is_no_violation() -> None:
    class Busy(MemoryRecordStore):
        """Something moves each time its history has been read."""

        async def history(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Version]:
            record = (await self.lookup([run_id]))[run_id]
            before = await super().history(run_id, after=after, limit=limit)
            await self.store([follow(record, "repeat", f"{run_id}-{record.version}")])
            return before if record.version % 2 else await super().history(run_id, after=after, limit=limit)

    store = Busy()
    for number in range(3):
        await play(store, "2", *["fail"] * number, run_id=f"r{number}", foreign_id=f"f{number}")
    report = await verify(store, "w", graph=graph())
    assert report.ok, str(report)


async def test_lost_acknowledgements_are_found() -> None:
    store = MemoryRecordStore()
    await play(store, "2", "fail")
    assert await rules(store, acknowledged={"r": 3}) == []
    assert await rules(store, acknowledged={"r": 4}) == [Rule.ACKNOWLEDGED]
    assert await rules(store, acknowledged={"lost": 1}) == [Rule.ACKNOWLEDGED]


async def test_two_live_runs_of_a_foreign_id_are_found() -> None:
    store = Tampered()
    before = await play(store, "2", run_id="old")
    await store.store([follow(before, "3", "ends")])
    record = await play(store, "2", run_id="new")
    assert await rules(store) == []
    store.histories["old"], store.records["old"] = list(await store.history("old"))[:-1], before
    assert record.run_state.live
    assert await rules(store) == [Rule.UNIQUE]


async def test_runs_that_were_due_and_are_not_handled_are_found() -> None:
    store = MemoryRecordStore()
    await play(store, "2", run_id="step", foreign_id="1")
    await play(store, run_id="callback", foreign_id="2")
    await play(store, "2", "pause", run_id="paused", foreign_id="3")
    await play(store, "cancel", "ask", run_id="erase", foreign_id="4")
    duties = Duties(steps=frozenset({2}), callbacks=frozenset({1}))

    async def overdue(due_before: datetime, asked: Duties = duties) -> set[str]:
        report = await verify(store, "w", graph=graph(), duties=asked, due_before=due_before)
        assert {violation.rule for violation in report.violations} <= {Rule.OVERDUE}
        return {violation.run_id for violation in report.violations}

    assert await overdue(NOW) == set()
    assert await overdue(NOW + SECOND * 60) == {"step", "erase"}
    assert await overdue(NOW + SECOND * 60, Duties(steps=frozenset({2}))) == {"step", "erase", "callback"}
    assert await overdue(NOW + SECOND * 60, Duties(timers=frozenset({1, 2}))) == {"step", "erase", "callback"}


async def test_a_report_counts_and_reads_well() -> None:
    store = Tampered()
    await play(store, "2", "3", run_id="done", foreign_id="1")
    await play(store, "2", run_id="bad", foreign_id="2")
    store.histories["bad"] = at(1, status=3)(list(await store.history("bad")))
    report = await verify(store, "w", graph=graph(), acknowledged={"done": 3})
    assert (report.runs, report.versions, report.acknowledged) == (2, 5, 1)
    assert report.by_status == {3: 1, 2: 1}
    assert report.by_run_state == {RunState.COMPLETED: 1, RunState.RUNNING: 1}
    assert str(report).splitlines()[:3] == [
        "workflow 'w': 2 runs, 5 versions, 1 acknowledgements, 3 violations",
        "run states: 1 Running, 1 Completed",
        "statuses: 2: 1, 3: 1",
    ]
    assert "- EDGE run 'bad' version 2: no edge leads from 1 to 3" in str(report)


async def test_a_long_list_of_violations_is_cut_in_the_summary_only() -> None:
    store = MemoryRecordStore()
    report = await verify(store, "w", acknowledged={f"lost-{n}": 1 for n in range(25)})
    assert len(report.violations) == 25
    assert str(report).endswith("… and 5 more")


async def test_more_runs_than_one_batch_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflow.verify.report.BATCH", 3)
    store = MemoryRecordStore()
    for number in range(10):
        await play(store, run_id=f"r{number}", foreign_id=f"f{number}")
    assert (await verify(store, "w")).runs == 10


async def test_verifying_writes_nothing() -> None:
    class ReadOnly(MemoryRecordStore):
        sealed = False

        async def store(self, changes: Sequence[Change]) -> Sequence[Outcome]:
            assert not self.sealed
            return await super().store(changes)

    store = ReadOnly()
    await play(store, *SCRIPT)
    store.sealed = True
    assert (await verify(store, "w", graph=graph(), due_before=NOW, duties=Duties())).ok


class Status(IntEnum):
    START = 1
    END = 2


async def test_a_workflow_brings_its_own_graph_and_duties() -> None:
    async with MemoryBackend() as backend:
        builder = Builder("orders", dict, Status)

        @builder.step(Status.START, to=Status.END)
        async def finish(run: Run[dict[str, int], Status]) -> Status:
            return Status.END

        workflow = builder.build(backend)
        run_id = await workflow.trigger("customer-7")
        store = backend.record_store
        assert (await verify(store, workflow, acknowledged={run_id: 1})).ok
        later = (await store.lookup([run_id]))[run_id].due_at + SECOND
        report = await verify(store, workflow, due_before=later)
        assert [(v.rule, v.run_id) for v in report.violations] == [(Rule.OVERDUE, run_id)]
