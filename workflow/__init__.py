"""An asyncio-native engine for durable, typed state machines.

Declare statuses and the functions that move a run between them with a `Builder`, build a `Workflow` on a backend, and
run it inside your service. See `README.md`.
"""

from ._builder import Builder
from ._declare.codec import JSONCodec
from ._diagram import Direction, create_diagram, diagram
from ._engine.ids import IdSource
from ._engine.system_clock import SystemClock
from ._model.dead_letter import DeadLetter
from ._model.decision import Decision
from ._model.event import ConnectorEvent, Event
from ._model.query import Order, RecordQuery
from ._model.record import Meta, Record
from ._model.run import Run
from ._model.run_state import RunState
from ._processes.supervisor import ProcessState
from ._workflow import Workflow
from .errors import (
    BackendNotOpen,
    BuildError,
    Conflict,
    EventsRefused,
    InvalidObject,
    InvalidPayload,
    InvalidRunState,
    InvalidTransition,
    NotWaiting,
    OutboxEventNotFound,
    OutcomeUnknown,
    RecordNotFound,
    RunFinished,
    ScheduleError,
    StatusNotConfigured,
    TimeoutNotFound,
    Unavailable,
    WaitTimeout,
    WorkflowError,
    WorkflowInProgress,
)
from .options import Backoff, Options, OutboxOptions
from .protocols import Backend, Codec
from .protocols.clock import Clock

__all__ = [
    "Backend",
    "BackendNotOpen",
    "Backoff",
    "BuildError",
    "Builder",
    "Clock",
    "Codec",
    "Conflict",
    "ConnectorEvent",
    "DeadLetter",
    "Decision",
    "Direction",
    "Event",
    "EventsRefused",
    "IdSource",
    "InvalidObject",
    "InvalidPayload",
    "InvalidRunState",
    "InvalidTransition",
    "JSONCodec",
    "Meta",
    "NotWaiting",
    "Options",
    "Order",
    "OutboxEventNotFound",
    "OutboxOptions",
    "OutcomeUnknown",
    "ProcessState",
    "Record",
    "RecordNotFound",
    "RecordQuery",
    "Run",
    "RunFinished",
    "RunState",
    "ScheduleError",
    "StatusNotConfigured",
    "SystemClock",
    "TimeoutNotFound",
    "Unavailable",
    "WaitTimeout",
    "Workflow",
    "WorkflowError",
    "WorkflowInProgress",
    "create_diagram",
    "diagram",
]
