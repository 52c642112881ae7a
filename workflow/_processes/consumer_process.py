"""The process around a consumer: it opens the consumer and its lane while the role is held."""

from .._engine.engine import Engine
from .._model.shard import WHOLE, Shard
from ..options import Options
from .consumer import Consumer
from .lease_term import LeaseTerm
from .stream_reader import StreamReader
from .supervisor import Process
from .work import Work


def consumer_process(
    engine: Engine,
    work: Work,
    *,
    name: str,
    role: str,
    topic: str,
    consumer: str,
    options: Options,
    shard: Shard = WHOLE,
    group: str = "",
) -> Process:
    """The process that consumes a topic for one shard.

    Args:
        work: judges and handles each version.
        name: the process, for people.
        role: its lock.
        consumer: the name under which its cursors are kept.
        options: slots and alerts.
        group: roles of one group go to the same process.
    """
    reader = StreamReader(engine, topic, consumer, shard)

    async def body(term: LeaseTerm) -> None:
        work.begin(term)
        consuming = Consumer(
            work,
            reader,
            workflow_name=engine.name,
            name=consumer,
            shard=shard,
            slots=options.max_in_flight or 1,
            rewinds=engine.rewinds,
            metrics=engine.metrics.process(engine.name, name),
            logger=engine.logger,
        )
        unwatch = engine.in_flight.watch(name, consuming.busy, lag_alert=options.lag_alert, timeout=options.timeout)
        close_lane = engine.lane.open(topic, consuming)
        try:
            await consuming.run(term)
        finally:
            close_lane()
            unwatch()

    return Process(name=name, role=role, body=body, group=group)
