"""The rules that every run's history keeps, whatever crashed while it was made.

Pure: a history goes in, violations come out. The rules are written down a second time here, apart from the code that
makes histories (`workflow._engine.transitions`), so that a mistake there cannot excuse itself.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import pairwise
from typing import Protocol

import msgspec

from .._model.record import Record, Version
from .._model.run_state import RUNNABLE, TRANSITIONS, RunState


class Rule(Enum):
    """The rule that a violation breaks."""

    VERSIONS = "versions are 1, 2, 3 … without gap or repeat"
    IDENTITY = "a run keeps its run ID, workflow, foreign ID and time of creation"
    EDGE = "a status changes only along an edge of the graph"
    RUN_STATE = "run states follow each other as the life cycle says"
    STEP = "visit, step and attempt are counted as they are meant to be"
    ATTEMPT = "one attempt writes one version"
    ERASURE = "an erased run keeps no object, error or reason of before"
    RECORD = "the record is the last version of the history"
    UNIQUE = "a foreign ID has one live run at most"
    ACKNOWLEDGED = "an acknowledged version is never lost"
    OVERDUE = "a run that is due is handled"


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One broken rule.

    Attributes:
        rule: which.
        run_id: the run.
        version: at which version; 0 when it is not about one.
        why: the finding, for a person.
    """

    rule: Rule
    run_id: str
    version: int = 0
    why: str

    def __str__(self) -> str:
        at = f" version {self.version}" if self.version else ""
        return f"{self.rule.name} run {self.run_id!r}{at}: {self.why}"


class Graph(Protocol):
    """The questions of the checker about statuses; `StatusGraph` answers them."""

    @abstractmethod
    def allows(self, origin: int, destination: int, /) -> bool:
        """True if a run may move from one status to the other."""

    @abstractmethod
    def is_terminal(self, status: int, /) -> bool:
        """True if runs that enter the status are completed."""


_MAY_STAY = frozenset({RunState.INITIATED, RunState.RUNNING, RunState.REQUESTED_DATA_DELETED})
"""Run states in which something is tried, so that it can fail and leave them as they are."""


def check_history(
    history: Sequence[Version], graph: Graph | None = None, *, record: Record | None = None
) -> list[Violation]:
    """Everything that is wrong with one run's history, oldest first.

    Args:
        history: every committed version, oldest first, as `RecordStore.history` gives it.
        graph: the moves that were declared when the history was made; None leaves edges and completion unchecked.
        record: the present record, read so that no version came between it and the history.
    """
    if not history:
        return [] if record is None else [_violation(Rule.VERSIONS, record, "the run has a record but no history")]
    return [
        *_versions(history),
        *_first(history[0], graph),
        *(found for before, after in pairwise(history) for found in _step(before, after, graph)),
        *_attempts(history),
        *_erasure(history),
        *(check_record(record, history[-1]) if record is not None else ()),
    ]


def check_record(record: Version, version: Version) -> Iterator[Violation]:
    """What differs between the record and the history row of its version; objects may."""
    names = (
        "run_id",
        "workflow_name",
        "foreign_id",
        "version",
        "status",
        "run_state",
        "visit",
        "step_version",
        "attempt",
    )
    for name in names:
        kept, stored = getattr(version, name), getattr(record, name)
        if kept != stored:
            yield _violation(Rule.RECORD, record, f"{name} is {stored!r} on the record, {kept!r} in the history")


def _violation(rule: Rule, record: Version, why: str) -> Violation:
    return Violation(rule=rule, run_id=record.run_id, version=record.version, why=why)


def _versions(history: Sequence[Version]) -> Iterator[Violation]:
    for expected, found in enumerate(history, start=1):
        if found.version != expected:
            yield _violation(Rule.VERSIONS, found, f"stands where version {expected} should")


def _first(first: Version, graph: Graph | None) -> Iterator[Violation]:
    if first.run_state not in (RunState.INITIATED, RunState.COMPLETED):
        yield _violation(Rule.RUN_STATE, first, f"a run begins Initiated or Completed, not {first.run_state}")
    if (first.visit, first.step_version, first.attempt) != (1, 1, 1):
        yield _violation(Rule.STEP, first, f"begins with {_counts(first)}, not 1, 1, 1")
    yield from _completion(first, graph)


def _step(before: Version, after: Version, graph: Graph | None) -> Iterator[Violation]:
    for name in ("run_id", "workflow_name", "foreign_id", "created_at"):
        was, became = getattr(before, name), getattr(after, name)
        if was != became:
            yield _violation(Rule.IDENTITY, after, f"{name} became {became!r}, it was {was!r}")
    if after.status != before.status or after.visit != before.visit:
        yield from _moved(before, after, graph)
    else:
        yield from _stayed(before, after)


def _moved(before: Version, after: Version, graph: Graph | None) -> Iterator[Violation]:
    """A handler returned a status (perhaps the one the run was at)."""
    if graph is not None and not graph.allows(before.status, after.status):
        yield _violation(Rule.EDGE, after, f"no edge leads from {before.status} to {after.status}")
    if before.run_state not in RUNNABLE or after.run_state not in (RunState.RUNNING, RunState.COMPLETED):
        yield _violation(Rule.RUN_STATE, after, f"moved from {before.run_state} to {after.run_state}")
    if (after.visit, after.step_version, after.attempt) != (after.version, after.version, 1):
        yield _violation(Rule.STEP, after, f"entered a status with {_counts(after)}")
    yield from _completion(after, graph)


def _completion(entered: Version, graph: Graph | None) -> Iterator[Violation]:
    if graph is not None and graph.is_terminal(entered.status) != (entered.run_state is RunState.COMPLETED):
        kind = "a terminal" if graph.is_terminal(entered.status) else "no terminal"
        yield _violation(Rule.RUN_STATE, entered, f"{entered.run_state} at {entered.status}, which is {kind} status")


def _stayed(before: Version, after: Version) -> Iterator[Violation]:
    """A failure, save-and-repeat, pause, resume, cancellation or deletion: the status is the same."""
    was, became = before.run_state, after.run_state
    legal = was in _MAY_STAY if became is was else became in TRANSITIONS[was] and became is not RunState.COMPLETED
    if not legal:
        yield _violation(Rule.RUN_STATE, after, f"{was} became {became} at the same status")
    repeated = after.step_version == after.version
    if repeated and (was not in RUNNABLE or became is not RunState.RUNNING):
        yield _violation(Rule.STEP, after, f"a step began at the same status while {was} became {became}")
    if not repeated and after.step_version != before.step_version:
        yield _violation(Rule.STEP, after, f"step_version became {after.step_version}, it was {before.step_version}")
    wanted = _attempts_after(before, after, repeated)
    if after.attempt not in wanted:
        expected = " or ".join(map(str, wanted))
        yield _violation(
            Rule.STEP, after, f"attempt became {after.attempt}, it was {before.attempt}: expected {expected}"
        )


def _attempts_after(before: Version, after: Version, repeated: bool) -> tuple[int, ...]:
    was, became = before.run_state, after.run_state
    begins_anew = was is RunState.PAUSED and became is RunState.RUNNING
    if repeated or begins_anew or (became is not was and became.finished and became is not RunState.CANCELLED):
        return (1,)
    if became in (RunState.PAUSED, RunState.CANCELLED):
        # By a person, a decision or a last failure: no further attempt is being made.
        return (before.attempt,)
    return (before.attempt + 1,)


def _attempts(history: Sequence[Version]) -> Iterator[Violation]:
    seen: dict[str, int] = {}
    for version in history:
        if version.attempt_id in seen:
            why = f"attempt {version.attempt_id!r} wrote version {seen[version.attempt_id]} already"
            yield _violation(Rule.ATTEMPT, version, why)
        elif version.attempt_id:
            seen[version.attempt_id] = version.version


def _erasure(history: Sequence[Version]) -> Iterator[Violation]:
    erased_at = max((v.version for v in history if v.run_state is RunState.DATA_DELETED), default=0)
    for version in history:
        left = version.object or version.last_error or version.meta.run_state_reason or version.meta.reason
        if version.version < erased_at and left:
            yield _violation(Rule.ERASURE, version, f"still holds data although version {erased_at} erased it")


def _counts(record: Version) -> str:
    return f"visit {record.visit}, step_version {record.step_version}, attempt {record.attempt}"
