"""Rules that hold at every moment, judged while handlers run and while the store is written to.

What is judged here cannot be seen in the store afterwards: who ran what, when, and with which right.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from workflow._engine.transitions import AUTO_PAUSE_REASON
from workflow._model.change import Change, NewVersion, Note, Outcome
from workflow._model.run_state import RUNNABLE, RunState
from workflow._model.shard import Shard, partition_of
from workflow._model.timer import TimeoutRecord
from workflow._processes.crash_guard import CRASHED

from .loop import PROCESS
from .world import EPOCH, Call, World

PARTITIONS = 4
SETTLED = 15.0
"""Seconds after which a slow reading can no longer explain that somebody did not know."""
FORGOTTEN, LONG_FORGOTTEN = 100.0, 400.0
"""Seconds after which a timer is fired although a process died that had claimed it, or was at first kept from
resuming it."""
DELAYED = 5.0
"""Seconds by which a change may be written later than it was made, so that it is out of order in the outbox."""
NET = 30.0
"""Seconds after which an event in the outbox was found by the relay's safety net and not by a wake-up."""


class Watch:
    """The observer of one world.

    Args:
        sharded: statuses whose step has the world's number of shards; the others have one.
        delays: for each status and timer, how long after entry it expires.
        decode: an object's bytes as the handlers see them.
    """

    def __init__(
        self, world: World, sharded: frozenset[int], delays: dict[tuple[int, int], timedelta], decode: Any
    ) -> None:
        self.world, self._sharded, self._delays, self._decode = world, sharded, delays, decode
        self.at_work: dict[tuple[Any, str, int], int] = {}
        self._waits_since: dict[str, float] = {}
        self._last_event = 0

    # -- handlers ---------------------------------------------------------------------------------------------

    def called(self, run: Any) -> None:
        """A handler begins."""
        world, process = self.world, PROCESS.get()
        name = process.name if process is not None else "client"
        status, now = int(run.status), world.loop.time()
        world.calls.append(Call(run.run_id, status, run.version, name, now))
        world.note(f"{name} calls {status} {run.run_id[:14]} v{run.version}")
        present = world.records._records.get(run.run_id)
        if present is not None and present.version == run.version:
            if self._decode(present.object) != run.object:
                world.complain("stale object", f"{run.run_id} v{run.version}: {run.object}, not {present.object!r}")
            if present.run_state not in RUNNABLE:
                world.complain("a stopped run is handled", f"{run.run_id} v{run.version} {present.run_state}")
        if process is not None and run.run_id.startswith(("poison", "broken", "alarm")) and not world.plan.retry:
            again = sum(1 for call in world.calls if call.run_id == run.run_id)
            if again > 60:
                world.complain("crash loop", f"{run.run_id} was tried {again} times")

    @contextmanager
    def step(self, run: Any) -> Iterator[None]:
        """A step's handler, from its beginning to its end."""
        self.called(run)
        world, process, status = self.world, PROCESS.get(), int(run.status)
        committed = world.committed[run.run_id, run.version]
        skipped = world.skipped_at.get((run.run_id, run.version))
        late = skipped is not None and world.loop.time() - skipped > SETTLED and not world.plan.outage
        if late or run._version.marks.skipped:
            world.complain("a skipped step runs again", f"{run.run_id} v{run.version}")
        if process.stopped_at is not None and committed > process.stopped_at:
            world.complain("a stopping process takes on new work", f"{process.name} {run.run_id} v{run.version}")
        lost = world.roles.lost_at(self.role(status, run.run_id), process)
        if lost is not None and committed > lost:
            world.complain("work goes on without its role", f"{process.name} {run.run_id} v{run.version}")
        key = (process, run.run_id, status)
        if key in self.at_work:
            world.complain("a run is handled twice at once", f"{process.name} {run.run_id} v{run.version}")
        self.at_work[key] = run.version
        try:
            yield
        finally:
            self.at_work.pop(key, None)

    def role(self, status: int, run_id: str) -> str:
        """The role under which the step of this run is handled."""
        total = self.world.plan.shards if status in self._sharded else 1
        partition = partition_of(run_id, PARTITIONS)
        index = next(i for i in range(1, total + 1) if Shard(i, total).owns(partition))
        return f"sim-{status}-consumer-{index}-of-{total}"

    def released(self, role: str, process: Any) -> None:
        """A living process gives a role up: its handlers must have ended."""
        for (worker, run_id, status), version in self.at_work.items():
            if worker is process and self.role(status, run_id) == role:
                self.world.complain("a role is given up during its work", f"{process.name} {role} {run_id} v{version}")

    # -- the store --------------------------------------------------------------------------------------------

    def asked(self, changes: Sequence[Change], under_way: Sequence[set[str]]) -> None:
        """A batch arrives at the store while others of the same engine are there."""
        runs = [change.run_id for change in changes]
        if len(set(runs)) < len(runs):
            self.world.complain("a batch holds a run twice", str(runs))
        # A change that was held up, or whose outcome was unknown, is written alone, beside the batches; and so is one
        # that was sent by itself when the store could not be reached.
        plan = self.world.plan
        alone = bool(plan.unavailable or plan.outage)
        meets = any(set(runs) & others for others in under_way if not alone or min(len(runs), len(others)) > 1)
        if not (plan.busy or plan.unknown) and meets:
            self.world.complain("two batches hold the same run", str(runs))

    def before(self, change: Change) -> None:
        """A change is about to be judged by the store."""
        if isinstance(change, Note) and change.reemitted_at is not None:
            self._sweeps(change)

    def after(self, who: Any, change: Change, outcome: Outcome, before: Any) -> None:
        """A change was judged by the store; `before` is the record it met."""
        world = self.world
        version = change.record.version if isinstance(change, NewVersion) else change.version
        kind, name = type(change).__name__.lower(), "client" if who is None else who.name
        world.note(f"{name} {kind} {change.run_id[:14]} v{version} {outcome.verdict.name}")
        if outcome.verdict.name != "APPLIED":
            return
        if isinstance(change, Note) and change.skipped:
            world.skipped_at[change.run_id, version] = world.loop.time()
        if isinstance(change, NewVersion):
            world.committed.setdefault((change.run_id, version), world.loop.time())
            self._moved(who, change, before)
        self._outbox(change)

    def _moved(self, who: Any, move: NewVersion, before: Any) -> None:
        world, record = self.world, move.record
        where = f"{record.run_id} v{record.version}"
        if record.version == 1:
            alike = [r for r in world.records._records.values() if r.foreign_id == record.foreign_id]
            if len(live := [r.run_id for r in alike if r.run_state.live]) > 1:
                world.complain("two live runs", f"{record.foreign_id} {live}")
        if before is None or before.version != record.version - 1:
            return
        resumed = before.run_state is RunState.PAUSED and record.run_state is RunState.RUNNING
        if resumed and who is not None and before.meta.run_state_reason != AUTO_PAUSE_REASON:
            world.complain("a person's pause is ended by the engine", f"{where}: {before.meta.run_state_reason}")
        if record.last_error.startswith(("Unavailable", "OutcomeUnknown")):
            world.complain("a store error counts as a failure", where)
        if record.last_error.startswith(CRASHED) and before.marks.claimed_by:
            self._crashed(before.marks.claimed_by, where)

    def _crashed(self, claimed_by: str, where: str) -> None:
        """Whoever was asked to stop takes its mark back; a store that works is quick enough for that."""
        world = self.world
        plan, owner = world.plan, world.processes.get(claimed_by.rpartition("-")[0])
        calm = not (plan.unavailable or plan.outage or plan.slow or plan.lost_leases)
        if calm and owner is not None and owner.stopped_at is not None and not owner.killed:
            world.complain("a stop counts as a crash", f"{where} by {owner.name}")

    def _sweeps(self, emit: Note) -> None:
        world, record = self.world, self.world.records._records.get(emit.run_id)
        if record is None or record.version != emit.version or record.run_state is RunState.REQUESTED_DATA_DELETED:
            return
        now, where = world.loop.time(), f"{emit.run_id} v{emit.version}"
        skipped = world.skipped_at.get((emit.run_id, emit.version))
        if skipped is not None and now - skipped > SETTLED and record.marks.timers_armed:
            world.complain("sweeper re-runs a skipped step", where)
        times = world.swept[emit.run_id, emit.version]
        times.append(now)
        plan = world.plan
        calm = not (plan.skew or plan.lost_leases or plan.unknown or plan.outage or plan.slow)
        if len(times) > 12 or (calm and len(times) > 1 and _too_soon(record, times[-2], now)):
            world.complain("sweeper floods", f"{where} swept at {times}")
        if world.stream.unread(emit.event, older_than=now - SETTLED):
            world.complain("sweeper floods a backlog", f"{where} is unread in the stream")
        self._looks_behind(record)

    def _looks_behind(self, record: Any) -> None:
        """A sweep of a run whose first event is still to be sent, behind one that is older."""
        world = self.world
        outbox = world.records._outboxes["sim"].immediate.items()
        first = [one.event for id_, one in outbox if id_ in self._waits_since]
        own = [event for event in first if (event.run_id, event.version) == (record.run_id, record.version)]
        behind = bool(own) and (record.due_at - first[0].created_at).total_seconds() > DELAYED
        if behind and not (world.plan.skew or world.plan.outage):
            world.complain("sweeper floods an outbox", f"{record.run_id} v{record.version} is not sent yet")

    # -- timers -----------------------------------------------------------------------------------------------

    def armed(self, timer: TimeoutRecord) -> None:
        """A timer is created: it must count from the moment its visit began."""
        entry = self.world.records._history[timer.run_id][timer.visit - 1].updated_at
        after = self._delays[timer.status, timer.timer]
        if timer.expire_at != entry + after:
            why = f"{timer.id} expires {timer.expire_at - entry} after its visit began, not {after}"
            self.world.complain("a timer counts from the wrong moment", why)

    def sleeping(self) -> None:
        """Once all is well, the timers of runs that are not paused do not sleep on."""
        world, now = self.world, self.world.loop.time()
        for timer in world.timeouts._timeouts.values():
            record = world.records._records[timer.run_id]
            if timer.completed or record.visit != timer.visit or record.run_state not in RUNNABLE:
                continue
            began = world.committed[record.run_id, record.version]
            long = FORGOTTEN if began > world.healed_at else LONG_FORGOTTEN
            expired = (timer.expire_at - EPOCH).total_seconds() + 2 * world.plan.skew
            if now - max(began, expired, world.healed_at) > long:
                world.complain("a timer sleeps on", f"{timer.id} until {timer.due_at - EPOCH}")

    # -- the outbox -------------------------------------------------------------------------------------------

    def _outbox(self, change: Change) -> None:
        """Remember since when an event may be sent that was due at once."""
        if isinstance(change, NewVersion) and change.record.due_at <= change.record.updated_at:
            outbox = self.world.records._outboxes["sim"]
            for id_ in (next(reversed(outbox.immediate), ""), next(reversed(outbox.delayed), "")):
                if id_ and int(id_) > self._last_event:
                    self._last_event = int(id_)
                    self._waits_since[id_] = self.world.loop.time()

    def relayed(self, ids: Sequence[str], process: Any) -> None:
        """The relay has read these events, at last."""
        world, now = self.world, self.world.loop.time()
        held = world.roles.held_since("sim-outbox-consumer", process)
        if not world.healed or held is None:
            return
        for id_ in ids:
            since = self._waits_since.get(id_, now)
            if now - max(since, world.healed_at, held) > NET:
                world.complain("an event waits in the outbox", f"{id_} since {since:.1f}")


def _too_soon(record: Any, last: float, now: float) -> bool:
    """True if a version is swept again although it has not waited again as long as it had then."""
    waited = last - (record.due_at - EPOCH).total_seconds()
    return now - last < waited - DELAYED
