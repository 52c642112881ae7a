"""What travels on the stream: events, and the outbox rows they wait in until they are sent.

An event is only a hint that a run has reached a version; the record is the truth. So an event carries no payload, and
losing, repeating or reordering events costs time, never correctness.
"""

from datetime import datetime

import msgspec

from .run_state import RunState


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Signals that a run reached a version.

    Attributes:
        topic: where it is published; see `workflow._model.topology`.
        run_id: the run; its hash decides the partition.
        version: the version that was committed; 0 when unknown.
        created_at: when that version was made, by the engine's clock.
        consumer: the one consumer this event is addressed to (a parked hook); empty for all.
        swept: emitted by the sweeper, because the store says that the run owes work: what a consumer remembers of
            the run does not count.
        attempt: which try this event asks for, when it is addressed to one consumer.
        partition, position: where the stream put it; assigned by the streamer, 0 until then. Positions rise within a
            partition of a topic.
    """

    topic: str
    workflow_name: str
    run_id: str
    foreign_id: str
    status: int
    run_state: RunState
    version: int
    created_at: datetime
    consumer: str = ""
    swept: bool = False
    attempt: int = 1
    partition: int = 0
    position: int = 0


class OutboxEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event committed with a version, waiting to be sent.

    Attributes:
        id: given by the store.
        due_at: not to be sent before; None means at once (so that clock skew cannot delay it).
    """

    id: str
    event: Event
    due_at: datetime | None = None


class OutboxPage(msgspec.Struct, frozen=True):
    """Outbox events that may be sent now, in order, and when the next delayed one is due (None: none waits)."""

    events: tuple[OutboxEvent, ...] = ()
    next_due: datetime | None = None


class OutboxInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How much waits in an outbox.

    Attributes:
        ready: events that may be sent now; the store stops counting at 10,000.
        delayed: events that are due later, counted likewise.
        oldest: `created_at` of the oldest ready event; None if none is ready.
    """

    ready: int = 0
    delayed: int = 0
    oldest: datetime | None = None


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """The events of a topic that one consumer has not acknowledged yet.

    Attributes:
        events: how many; the streamer may stop counting at 10,000.
        oldest: `created_at` of the oldest; None if there is none.
    """

    events: int = 0
    oldest: datetime | None = None


class ConnectorEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a foreign system, handed to a connector.

    Attributes:
        id: identifies the event in its source; its hash decides the shard when the source has no partitions.
        foreign_id: the business key, usually the foreign ID to trigger or call back.
        type: the source's name for the kind of event.
        headers: whatever else the source says.
        created_at: when the event happened, as the source says.
        partition, position: where the source keeps it; positions rise within a partition.
    """

    id: str
    foreign_id: str
    type: str = ""
    headers: dict[str, str] = {}
    created_at: datetime
    payload: bytes = b""
    partition: int = 0
    position: int = 0
