"""What changes and watches the runs of one workflow, without its handlers: enough for a process without the code."""

from collections.abc import Set as AbstractSet

from .._model.change import NewVersion
from .._model.record import Record, Stamp, VersionCause
from .._model.run_state import RunState
from ..protocols import Backend, Clock, TimeoutStore
from .commits import Commits
from .fast_lane import FastLane
from .ids import IdSource
from .log import SafeLogger
from .loop_guard import LoopGuard
from .metrics import Metrics
from .news import NewsFeed
from .rewinds import Rewinds
from .transitions import Transitions


class Core:
    """The ports of one workflow, and the one way in which its versions are made, written and made known.

    Args:
        timer_statuses: the statuses that have timers.
    """

    def __init__(
        self,
        name: str,
        backend: Backend,
        transitions: Transitions,
        *,
        timer_statuses: AbstractSet[int],
        clock: Clock,
        ids: IdSource,
        logger: SafeLogger,
        metrics: Metrics,
    ) -> None:
        self.name, self.transitions, self.timer_statuses = name, transitions, timer_statuses
        self.records, self.stream, self.roles = backend.record_store, backend.event_streamer, backend.role_scheduler
        self.timeout_store, self.release = backend.timeout_store, backend.release
        self.clock, self.ids, self.logger, self.metrics = clock, ids, logger, metrics
        self.lane = FastLane()
        self.rewinds = Rewinds(name, logger)
        self.news = NewsFeed(name, self.stream, logger)
        self.commits = Commits(self.records, self._applied, self.rewinds.noticed, ids.draw, logger, LoopGuard(name))
        self.now = clock.now

    @property
    def timeouts(self) -> TimeoutStore:
        """The timeout store, of a workflow that has timeouts."""
        assert self.timeout_store is not None, "checked when the workflow was built"
        return self.timeout_store

    async def find(self, run_id: str) -> Record | None:
        """The present record of this run; None if there is none."""
        return (await self.records.lookup([run_id])).get(run_id)

    def stamp(self, cause: VersionCause, *, attempt_id: str | None = None, actor: str = "", reason: str = "") -> Stamp:
        """The present moment and a new attempt id (or this one): one for each attempt to write a version."""
        return Stamp(
            at=self.clock.now(),
            attempt_id=self.ids.attempt_id() if attempt_id is None else attempt_id,
            cause=cause,
            actor=actor,
            reason=reason,
        )

    def _applied(self, change: NewVersion) -> None:
        record = change.record
        previous = RunState.UNKNOWN if record.version == 1 else change.previous
        self.metrics.run_state_change(self.name, str(previous), str(record.run_state))
        self.news.notify(record)
        self.lane.offer(change)
