# ruff: noqa: D103, S311 - the name of a case is its sentence; chance here is no secret
"""A record store in forty lines, and a case that compares the real one with it over random batches of changes.

The other cases look at one sentence each; this one finds what they have in common and nobody thought of. The seeds
are fixed, so a failure can be repeated.
"""

import random
from collections.abc import Sequence

import msgspec

from workflow.protocols import TRANSITIONS, Change, Marks, NewVersion, Note, Record, Verdict, Version

from ._kit import Subject, cases_of
from ._values import MINUTE, NOW, WORKFLOW, created, event_of, marked, moved, settled, unmarked, version_of

case = cases_of("records")


class Model:
    """What a record store must answer, one change after the other."""

    def __init__(self) -> None:
        self.present: dict[str, Record] = {}
        self.history: dict[str, list[Version]] = {}
        self.emitted: dict[str, list[int]] = {}
        self.last: dict[str, str] = {}

    def apply(self, change: Change) -> Verdict:
        """Judge the change, and write it if it applies."""
        present = self.present.get(change.run_id)
        if isinstance(change, NewVersion):
            verdict = self._judge(change, present)
            if verdict is Verdict.APPLIED:
                self._move(change.record, present)
            return verdict
        if present is None or present.version != change.version or self._is_other(change, present):
            return Verdict.CONFLICT
        if change.event is not None:
            self.emitted[change.run_id].append(change.version)
        fields = {name: getattr(change, name) for name in Marks.__struct_fields__}
        given = {name: value for name, value in fields.items() if value is not None}
        self.present[change.run_id] = marked(present, **given)
        return Verdict.APPLIED

    @staticmethod
    def _is_other(change: Change, present: Record) -> bool:
        return change.base_attempt not in ("", present.attempt_id)

    def _judge(self, change: NewVersion, present: Record | None) -> Verdict:
        record = change.record
        history = self.history.get(record.run_id, [])
        if record.version <= len(history):
            mine = history[record.version - 1].attempt_id == record.attempt_id
            return Verdict.ALREADY_APPLIED if mine else Verdict.CONFLICT
        if present is None and record.version == 1:
            return Verdict.IN_PROGRESS if self.live(record.foreign_id) else Verdict.APPLIED
        if present is not None and self._is_other(change, present):
            return Verdict.CONFLICT
        return Verdict.APPLIED if len(history) == record.version - 1 else Verdict.CONFLICT

    def _move(self, record: Record, present: Record | None) -> None:
        armed = present is not None and present.visit == record.visit and present.marks.timers_armed
        self.present[record.run_id] = marked(unmarked(record), timers_armed=armed)
        self.history.setdefault(record.run_id, []).append(version_of(record))
        self.emitted.setdefault(record.run_id, []).append(record.version)
        if record.version == 1:
            self.last[record.foreign_id] = record.run_id

    def live(self, foreign_id: str) -> Record | None:
        """The live run of this foreign ID."""
        return next((r for r in self.present.values() if r.foreign_id == foreign_id and r.run_state.live), None)

    def latest(self, foreign_id: str) -> Record | None:
        """The live run, else the one created last."""
        return self.live(foreign_id) or self.present.get(self.last.get(foreign_id, ""))


class _Chance:
    """Makes changes by chance: most fit the present record, some are stale, repeated, or from the future."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seed = seed
        self._sent: list[Change] = []
        self._made = 0

    def batch(self, model: Model) -> list[Change]:
        """Changes of runs of different foreign IDs, so that their order in the batch does not matter."""
        chosen = self._random.sample(range(5), self._random.randint(1, 4))
        return [self._change(model, f"seed {self._seed} foreign {number}") for number in chosen]

    def _change(self, model: Model, foreign_id: str) -> Change:
        change = self._any(model, foreign_id)
        self._sent.append(change)
        return change

    def _any(self, model: Model, foreign_id: str) -> Change:
        earlier = [c for c in self._sent if isinstance(c, NewVersion) and c.record.foreign_id == foreign_id]
        present = model.latest(foreign_id)
        if present is None or self._random.random() < 0.2:
            self._made += 1
            return created(f"seed {self._seed} run {self._made}", foreign_id)
        if earlier and self._random.random() < 0.2:
            return self._random.choice(earlier)
        version = max(1, present.version + self._random.choice((0, 0, 0, 0, -1, 1)))
        if self._random.random() < 0.3:
            skipped, armed = self._random.choice(((True, None), (None, True)))
            return Note(run_id=present.run_id, version=version, skipped=skipped, timers_armed=armed)
        if self._random.random() < 0.2:
            swept = self._random.choice((None, NOW + MINUTE))
            return Note(
                run_id=present.run_id, version=version, event=event_of(present, version=version), reemitted_at=swept
            )
        states = sorted(TRANSITIONS[present.run_state] | {present.run_state})
        stale = msgspec.structs.replace(present, version=version)
        return moved(stale, run_state=self._random.choice(states), status=self._random.choice((present.status, 2, 3)))


async def _compare(subject: Subject, model: Model, foreign_ids: Sequence[str]) -> None:
    assert dict(await subject.records.lookup(list(model.present))) == model.present
    for run_id, history in model.history.items():
        assert list(await subject.records.history(run_id)) == history
    for foreign_id in foreign_ids:
        assert await subject.records.latest(WORKFLOW, foreign_id) == model.latest(foreign_id)
    page = await subject.records.list_outbox(WORKFLOW, now=NOW + MINUTE, limit=10_000)
    emitted: dict[str, list[int]] = {}
    for waiting in page.events:
        emitted.setdefault(waiting.event.run_id, []).append(waiting.event.version)
    assert {run_id: emitted.get(run_id) for run_id in model.emitted} == model.emitted


@case("design 5: store")
async def random_batches_are_answered_as_the_model_answers_them(subject: Subject) -> None:
    seen: set[tuple[type[Change], Verdict]] = set()
    for seed in range(15):
        model, chance = Model(), _Chance(seed)
        for turn in range(25):
            batch = chance.batch(model)
            outcomes = await settled(subject.records, *batch)
            for change, outcome in zip(batch, outcomes, strict=True):
                before = model.present.get(change.run_id)
                wanted = model.apply(change)
                assert outcome.verdict is wanted, f"seed {seed}, batch {turn}: {change} on {before}: {outcome}"
                if wanted is Verdict.CONFLICT:
                    assert outcome.record == before, f"seed {seed}, batch {turn}"
                seen.add((type(change), wanted))
        await _compare(subject, model, [f"seed {seed} foreign {number}" for number in range(5)])
    verdicts = {verdict for kind, verdict in seen if kind is NewVersion}
    assert verdicts == {Verdict.APPLIED, Verdict.ALREADY_APPLIED, Verdict.CONFLICT, Verdict.IN_PROGRESS}, verdicts
    assert {(kind, verdict) for kind in (Note, Note) for verdict in (Verdict.APPLIED, Verdict.CONFLICT)} <= seen
