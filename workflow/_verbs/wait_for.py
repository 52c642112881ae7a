"""NewsFeed until a run reaches a status, or never can.

Subscribes first, then reads the record, and asks the history only if the run is elsewhere: whatever is committed in
between is news. After that nothing is read until there is news.
"""

from typing import Any

from .._engine.engine import Engine
from .._engine.news import News, Watch
from .._model import topology
from .._model.record import Record
from .._model.run import Run
from ..errors import RecordNotFound, RunFinished


async def wait_for(engine: Engine[Any, Any], foreign_id: str, status: int, run_id: str | None) -> Run[Any, Any]:
    """The run, once it reached the status (or if it passed it before).

    Raises:
        RecordNotFound: no run has this run ID, or it is another foreign ID's.
        RunFinished: it can no longer reach it.
    """
    topics = [topology.run_state_change_topic(engine.name)]
    if not engine.definition.graph.is_terminal(status):
        topics.append(topology.topic(engine.name, status))
    graph = engine.definition.graph

    def settles(news: News) -> bool:
        return news.status == status or news.run_state.finished or not graph.can_reach(news.status, status)

    async with engine.news.watch(foreign_id, run_id, topics, settles) as watch:
        return engine.reading(await _reached(engine, watch, status))


async def _reached(engine: Engine[Any, Any], watch: Watch, status: int) -> Record:
    record = await _look(engine, watch)
    while True:
        if record is not None:
            watch.run_id = record.run_id
            if record.status == status:
                return record
            entered = await engine.records.passed(record.run_id, status)
            if entered is not None and entered <= record.version:
                return record
            if entered is not None:
                # It got there between the two readings; nobody is shown a run from before.
                record = await _look(engine, watch)
                continue
            _check_reachable(engine, record, status)
        record = await _next_look(engine, watch, status)


async def _next_look(engine: Engine[Any, Any], watch: Watch, status: int) -> Record | None:
    """Wait for news that could settle it; the record then."""
    news = await watch.next()
    if news is not None and watch.run_id is None:
        watch.run_id = news.run_id
    # Of another run they are late: they came before it was known which run is meant.
    if isinstance(news, Record) and news.run_id == watch.run_id and news.status == status:
        return news
    return await _look(engine, watch)


async def _look(engine: Engine[Any, Any], watch: Watch) -> Record | None:
    if watch.run_id is None:
        return await engine.records.latest(engine.name, watch.foreign_id)
    record = (await engine.records.lookup([watch.run_id])).get(watch.run_id)
    if record is None or record.foreign_id != watch.foreign_id or record.workflow_name != engine.name:
        raise RecordNotFound(run_id=watch.run_id, workflow_name=engine.name, foreign_id=watch.foreign_id)
    return record


def _check_reachable(engine: Engine[Any, Any], record: Record, status: int) -> None:
    if record.run_state.finished or not engine.definition.graph.can_reach(record.status, status):
        run = engine.reading(record)
        raise RunFinished(
            engine.name,
            record.run_id,
            status=run.status,
            run_state=record.run_state,
            wanted=engine.definition.status_type(status),
        )
