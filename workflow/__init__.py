"""An asyncio-native engine for durable, typed state machines.

Declare statuses and the functions that move a run between them with a `Builder`, build a `Workflow` on a backend, and
run it inside your service. See `README.md`.
"""

from ._builder import Builder
from ._clock import Clock, SystemClock
from ._codec import JSONCodec
from ._decision import Decision
from ._diagram import Direction
from ._drawing import create_diagram, diagram
from ._entropy import Entropy
from ._event import ConnectorEvent, DeadLetter, Event
from ._processes.supervisor import ProcessState
from ._record import Meta, Order, Record, RecordQuery
from ._run import Run
from ._runstate import RunState
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
    "Entropy",
    "Event",
    "EventsRefused",
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
