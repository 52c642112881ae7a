"""Reads a whole workflow and checks it.

It only reads, in batches, and a run that moves while it is read is no violation: readings that may be of different
moments are compared only as far as both can be true.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from .._facade.workflow import Workflow
from .._model.query import RecordQuery
from .._model.record import Record, Version
from .._model.run_state import RUNNABLE, RunState
from ..protocols import RecordStore
from .rules import Graph, Rule, Violation, check_history, check_record

BATCH = 200
"""How many records are read at once."""

_AT_ONCE = 8
"""How many histories are read at the same time: few, because the store has other work."""

_SHOWN = 20
"""How many violations a summary spells out."""


class Duties(msgspec.Struct, frozen=True, kw_only=True):
    """The duties of each status: they tell a run that waits from one that is forgotten.

    Attributes:
        steps: statuses with a step. timers: with a timeout. callbacks: with a callback.
    """

    steps: frozenset[int] = frozenset()
    timers: frozenset[int] = frozenset()
    callbacks: frozenset[int] = frozenset()

    def neglected(self, record: Record, due_before: datetime) -> str:
        """Why a run should have been handled by then; empty if it need not have been."""
        if record.due_at >= due_before:
            return ""
        if record.run_state is RunState.REQUESTED_DATA_DELETED:
            return "its data is still to be erased"
        if record.run_state not in RUNNABLE:
            return ""
        if record.status in self.steps and not record.marks.skipped:
            return f"its step at {record.status} was due at {record.due_at.isoformat()}"
        if record.status in self.timers and not record.marks.timers_armed:
            return f"its timers at {record.status} are not armed"
        if record.status not in self.steps | self.timers | self.callbacks:
            return f"nothing can move it from {record.status}"
        return ""


class Report(msgspec.Struct, kw_only=True):
    """The runs that were read, and everything that is wrong with them; `str(report)` is a summary for people.

    Attributes:
        runs, versions: how many were read.
        by_status, by_run_state: the runs, by where they are.
        acknowledged: how many versions that callers were told about were looked for.
        violations: empty if the promise was kept.
    """

    workflow_name: str
    runs: int = 0
    versions: int = 0
    by_status: Counter[int] = msgspec.field(default_factory=Counter)
    by_run_state: Counter[RunState] = msgspec.field(default_factory=Counter)
    acknowledged: int = 0
    violations: list[Violation] = []

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return not self.violations

    def __str__(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.by_run_state.items()))
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(self.by_status.items()))
        read = f"{self.runs} runs, {self.versions} versions, {self.acknowledged} acknowledgements"
        lines = [
            f"workflow {self.workflow_name!r}: {read}, {len(self.violations)} violations",
            f"run states: {states or 'none'}",
            f"statuses: {statuses or 'none'}",
            *(f"- {violation}" for violation in self.violations[:_SHOWN]),
        ]
        if len(self.violations) > _SHOWN:
            lines.append(f"… and {len(self.violations) - _SHOWN} more")
        return "\n".join(lines)


async def verify(
    store: RecordStore,
    workflow: str | Workflow[Any, Any],
    *,
    graph: Graph | None = None,
    duties: Duties | None = None,
    due_before: datetime | None = None,
    acknowledged: Mapping[str, int] | None = None,
) -> Report:
    """Read every run of a workflow and check it. Writes nothing.

    Args:
        store: may be in use meanwhile.
        workflow: a workflow brings its own graph and duties along; with its name alone, give them or go without.
        graph: the moves that are allowed; None leaves edges unchecked. Histories made under another declaration of
            the workflow are judged by this one.
        duties: what statuses owe; only asked together with `due_before`.
        due_before: report runs that were due before this moment, by the engine's clock, and are not handled yet.
        acknowledged: for run IDs, the version that a caller was told about; none may be lost.
    """
    if isinstance(workflow, Workflow):
        graph = graph if graph is not None else _graph_of(workflow)
        duties = duties if duties is not None else _duties_of(workflow)
        workflow = workflow.name
    checker = _Checker(Report(workflow_name=workflow), store, graph, acknowledged or {})
    if due_before is not None:
        checker.duties, checker.due_before = duties, due_before
    async for records in _batches(store, workflow):
        await checker.read(records)
    await checker.finish()
    return checker.report


async def _batches(store: RecordStore, workflow_name: str) -> AsyncIterator[Sequence[Record]]:
    cursor: str | None = None
    while True:
        page = await store.list(RecordQuery(workflow_name=workflow_name, cursor=cursor, limit=BATCH))
        yield page
        if page.next is None:
            return
        cursor = page.next


class _Checker:
    """One verification on its way."""

    def __init__(
        self, report: Report, store: RecordStore, graph: Graph | None, acknowledged: Mapping[str, int]
    ) -> None:
        self.report = report
        self.duties: Duties | None = None
        self.due_before: datetime | None = None
        self._store, self._graph = store, graph
        self._owed = dict(acknowledged)
        self._live: defaultdict[str, list[str]] = defaultdict(list)
        report.acknowledged = len(self._owed)

    async def read(self, records: Sequence[Record]) -> None:
        """Check these runs: first the records, then their histories, then the records again, in this order."""
        histories: list[Sequence[Version]] = []
        for start in range(0, len(records), _AT_ONCE):
            some = records[start : start + _AT_ONCE]
            histories += await asyncio.gather(*(self._store.history(record.run_id) for record in some))
        present = await self._store.lookup([record.run_id for record in records])
        for record, history in zip(records, histories, strict=True):
            self._run(record, history, present.get(record.run_id))

    def _run(self, before: Record, history: Sequence[Version], after: Record | None) -> None:
        if after is None and before.run_state.finished:
            return  # retention has removed it meanwhile
        report = self.report
        report.runs += 1
        report.versions += len(history)
        record = after or before
        report.by_status[record.status] += 1
        report.by_run_state[record.run_state] += 1
        if record.run_state.live:
            self._live[record.foreign_id].append(record.run_id)
        report.violations += check_history(history, self._graph)
        self._compare(before, history, after)
        self._settle(record.run_id, history)
        if self.duties is not None and self.due_before is not None and after is not None:
            why = self.duties.neglected(after, self.due_before)
            if why:
                self._violation(Rule.OVERDUE, after.run_id, after.version, why)

    def _compare(self, before: Record, history: Sequence[Version], after: Record | None) -> None:
        """The record read before the history is one of its versions; the one read after it is not older."""
        rows = {version.version: version for version in history}
        if before.version not in rows:
            self._violation(Rule.RECORD, before.run_id, before.version, "the record's version is not in the history")
        else:
            self.report.violations += check_record(before, rows[before.version])
        last = max(rows, default=0)
        if after is None:
            self._violation(Rule.RECORD, before.run_id, before.version, "the record was listed and then not found")
        elif after.version < last:
            self._violation(Rule.RECORD, after.run_id, after.version, f"the history goes on to version {last}")
        elif after.version in rows and after != before:
            self.report.violations += check_record(after, rows[after.version])

    def _settle(self, run_id: str, history: Sequence[Version]) -> None:
        told = self._owed.pop(run_id, 0)
        if told and all(version.version != told for version in history):
            self._violation(Rule.ACKNOWLEDGED, run_id, told, "a caller was told of it, the history does not have it")

    async def finish(self) -> None:
        """What only the whole can tell: lost runs, and foreign IDs with two live runs."""
        for run_id in list(self._owed):
            # Not listed: of another workflow, or made after the listing went by; or lost.
            history = await self._store.history(run_id)
            self._settle(run_id, history)
        for foreign_id, run_ids in self._live.items():
            if len(run_ids) > 1:
                present = await self._store.lookup(run_ids)
                live = [run_id for run_id, record in present.items() if record.run_state.live]
                if len(live) > 1:
                    why = f"foreign ID {foreign_id!r} has {len(live)} live runs: {', '.join(sorted(live))}"
                    self._violation(Rule.UNIQUE, min(live), 0, why)

    def _violation(self, rule: Rule, run_id: str, version: int, why: str) -> None:
        self.report.violations.append(Violation(rule=rule, run_id=run_id, version=version, why=why))


def _graph_of(workflow: Workflow[Any, Any]) -> Graph:
    return workflow._engine.definition.graph  # noqa: SLF001 - Workflow hides from users what the engine needs


def _duties_of(workflow: Workflow[Any, Any]) -> Duties:
    definition = workflow._engine.definition  # noqa: SLF001
    return Duties(
        steps=frozenset(definition.steps),
        timers=frozenset(definition.timeouts),
        callbacks=frozenset(definition.callbacks),
    )
