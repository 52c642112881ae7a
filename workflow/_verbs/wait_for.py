"""Waiting until a run reaches a status, or never can; or until it has ended.

Subscribes first, then reads the record, and asks the history only if the run is elsewhere: whatever is committed in
between is news. After that nothing is read until there is news.
"""

from collections.abc import Set as AbstractSet

from .._engine.engine import Engine
from .._engine.news import News, Watch
from .._model import topology
from .._model.record import Record
from ..errors import RecordNotFound, RunFinished


class _Goal:
    """The goal of a wait: any of some statuses, or (none given) the end of the run."""

    def __init__(self, engine: Engine, statuses: AbstractSet[int]) -> None:
        self._graph, self.statuses = engine.definition.graph, statuses
        between = sorted(status for status in statuses if not self._graph.is_terminal(status))
        self.topics = [
            topology.run_state_change_topic(engine.name),
            *(topology.topic(engine.name, status) for status in between),
        ]

    def reached(self, news: News) -> bool:
        """True if this version reaches the goal."""
        return news.status in self.statuses if self.statuses else news.run_state.finished

    def lost(self, news: News) -> bool:
        """True if a run that was not there before this version can never get there."""
        if not self.statuses:
            return False
        return news.run_state.finished or not any(
            self._graph.can_reach(news.status, status) for status in self.statuses
        )

    def settles(self, news: News) -> bool:
        """True if this news could end the wait."""
        return self.reached(news) or self.lost(news)


async def wait_for(engine: Engine, foreign_id: str, statuses: AbstractSet[int], run_id: str | None) -> Record:
    """The record, once the run reached one of the statuses (or if it passed it before); without any: once it ended.

    Raises:
        RecordNotFound: no run has this run ID, or it is another foreign ID's.
        RunFinished: it can no longer reach any of them.
    """
    goal = _Goal(engine, statuses)
    async with engine.news.watch(foreign_id, run_id, goal.topics, goal.settles) as watch:
        return await _reached(engine, watch, goal)


async def _reached(engine: Engine, watch: Watch, goal: _Goal) -> Record:
    record = await _look(engine, watch)
    while True:
        if record is not None:
            watch.run_id = record.run_id
            if goal.reached(record):
                return record
            entered = await _first_entry(engine, record.run_id, goal)
            if entered is not None and entered <= record.version:
                return record
            if entered is not None:
                # It got there between the two readings: read again, so that the caller sees the run as it is there.
                record = await _look(engine, watch)
                continue
            _check_reachable(engine, record, goal)
        record = await _next_look(engine, watch, goal)


async def _first_entry(engine: Engine, run_id: str, goal: _Goal) -> int | None:
    """The first version of the history at one of the statuses."""
    found = [await engine.records.first_version_at(run_id, status) for status in sorted(goal.statuses)]
    return min((version for version in found if version is not None), default=None)


async def _next_look(engine: Engine, watch: Watch, goal: _Goal) -> Record | None:
    """Wait for news that could settle it; the record then."""
    news = await watch.next()
    if news is not None and watch.run_id is None:
        watch.run_id = news.run_id
    # Ignore news of another run: it arrived before it was known which run to await.
    if isinstance(news, Record) and news.run_id == watch.run_id and goal.reached(news):
        return news
    return await _look(engine, watch)


async def _look(engine: Engine, watch: Watch) -> Record | None:
    if watch.run_id is None:
        return await engine.records.latest(engine.name, watch.foreign_id)
    record = await engine.find(watch.run_id)
    if record is None or record.foreign_id != watch.foreign_id or record.workflow_name != engine.name:
        raise RecordNotFound(run_id=watch.run_id, workflow_name=engine.name, foreign_id=watch.foreign_id)
    return record


def _check_reachable(engine: Engine, record: Record, goal: _Goal) -> None:
    if not goal.lost(record):
        return
    wanted = [engine.definition.status_type(status) for status in sorted(goal.statuses)]
    raise RunFinished(
        engine.name,
        record.run_id,
        status=engine.reading(record).status,
        run_state=record.run_state,
        wanted=wanted[0] if len(wanted) == 1 else tuple(wanted),
    )
