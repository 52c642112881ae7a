"""The ports: the needs of the engine, and the promises of every adapter.

Each docstring is the contract; `workflow_adapters.conformance` proves it. Common to all ports:

- A call finishes once it has begun: cancelling the caller takes effect between calls, never inside a transaction.
- An adapter raises `Unavailable` when it cannot be reached and nothing was written, `OutcomeUnknown` when a write may
  or may not be durable. It never repeats a write by itself. Any other exception means that the data is at fault.
- `now` is always an argument: due times are judged by the engine's clock, leases by the store's own.
- A port that needs resources is an async context manager too; `Backend` enters it.

An adapter needs nothing but this module and `workflow.errors`.
"""

from .._model.change import (
    ALREADY_APPLIED,
    APPLIED,
    BUSY,
    UNKNOWN,
    Change,
    NewVersion,
    Note,
    OnCommit,
    Outcome,
    Verdict,
    refused,
)
from .._model.dead_letter import DeadLetter, DeadLetterQuery
from .._model.event import Backlog, ConnectorEvent, Event, OutboxEvent, OutboxInfo, OutboxPage
from .._model.held_callback import HeldCallback
from .._model.page import Page
from .._model.process import Holding, Member, ProcessIdentity
from .._model.query import (
    COUNT_CAP,
    DEFAULT_LIMIT,
    Count,
    Order,
    RecordFilter,
    RecordQuery,
    StalledQuery,
    StatusCount,
)
from .._model.record import NO_MARKS, Marks, Meta, Record, Stamp, Version, VersionCause
from .._model.run_state import LIVE, RUNNABLE, TRANSITIONS, RunState
from .._model.shard import WHOLE, Shard, partition_of
from .._model.timer import TimeoutPage, TimeoutQuery, TimeoutRecord
from .._model.topology import topic
from .._model.workflow_info import PublishedWorkflow, ScheduleInfo, StatusInfo, WorkflowInfo
from .backend import Backend
from .catalog import Catalog
from .clock import Clock, Timer
from .codec import Codec, KeepsUnknownFields
from .connectors import ConnectorReceiver, ConnectorSource
from .dead_letters import DeadLetters
from .events import EventReceiver, EventStreamer
from .held_callbacks import HeldCallbacks
from .memos import Memos
from .outbox import Outbox
from .record_store import RecordStore
from .roles import Lease, RoleScheduler
from .runs import Runs
from .timeouts import TimeoutStore
from .transactions import JoinsTransactions
from .wake_ups import Subscription, WakeUp, WakeUps

__all__ = [
    "ALREADY_APPLIED",
    "APPLIED",
    "BUSY",
    "COUNT_CAP",
    "DEFAULT_LIMIT",
    "LIVE",
    "NO_MARKS",
    "RUNNABLE",
    "TRANSITIONS",
    "UNKNOWN",
    "WHOLE",
    "Backend",
    "Backlog",
    "Catalog",
    "Change",
    "Clock",
    "Codec",
    "ConnectorEvent",
    "ConnectorReceiver",
    "ConnectorSource",
    "Count",
    "DeadLetter",
    "DeadLetterQuery",
    "DeadLetters",
    "Event",
    "EventReceiver",
    "EventStreamer",
    "HeldCallback",
    "HeldCallbacks",
    "Holding",
    "JoinsTransactions",
    "KeepsUnknownFields",
    "Lease",
    "Marks",
    "Member",
    "Memos",
    "Meta",
    "NewVersion",
    "Note",
    "OnCommit",
    "Order",
    "Outbox",
    "OutboxEvent",
    "OutboxInfo",
    "OutboxPage",
    "Outcome",
    "Page",
    "ProcessIdentity",
    "PublishedWorkflow",
    "Record",
    "RecordFilter",
    "RecordQuery",
    "RecordStore",
    "RoleScheduler",
    "RunState",
    "Runs",
    "ScheduleInfo",
    "Shard",
    "StalledQuery",
    "Stamp",
    "StatusCount",
    "StatusInfo",
    "Subscription",
    "TimeoutPage",
    "TimeoutQuery",
    "TimeoutRecord",
    "TimeoutStore",
    "Timer",
    "Verdict",
    "Version",
    "VersionCause",
    "WakeUp",
    "WakeUps",
    "WorkflowInfo",
    "partition_of",
    "refused",
    "topic",
]
