"""An asyncio-native engine for durable, typed state machines.

Declare statuses and the functions that move a run between them with a `Builder`, build a `Workflow` on a backend, and
run it inside your service. See `README.md`.
"""

from ._builder import (
    Builder,
    CallbackDecorator,
    ConnectorDecorator,
    Decorator,
    HookDecorator,
    Next,
    StepDecorator,
    TimeoutDecorator,
    TimerSpec,
)
from ._declare.codec import JSONCodec
from ._declare.handlers import Filter
from ._diagram import Direction, create_diagram, diagram
from ._engine.ids import IdSource
from ._engine.system_clock import SystemClock
from ._facade.workflow import Workflow
from ._model.change import OnCommit
from ._model.dead_letter import DeadLetter
from ._model.decision import Decision
from ._model.event import ConnectorEvent, Event
from ._model.page import Page
from ._model.query import Count, Order, RecordFilter, RecordQuery, StatusCount
from ._model.record import Meta, Record, Version, VersionCause
from ._model.run import Run
from ._model.run_state import RunState
from ._processes.supervisor import ProcessState
from ._verbs.listing import RunFilter
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
    WrongEventLoop,
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
    "CallbackDecorator",
    "Clock",
    "Codec",
    "Conflict",
    "ConnectorDecorator",
    "ConnectorEvent",
    "Count",
    "DeadLetter",
    "Decision",
    "Decorator",
    "Direction",
    "Event",
    "EventsRefused",
    "Filter",
    "HookDecorator",
    "IdSource",
    "InvalidObject",
    "InvalidPayload",
    "InvalidRunState",
    "InvalidTransition",
    "JSONCodec",
    "Meta",
    "Next",
    "NotWaiting",
    "OnCommit",
    "Options",
    "Order",
    "OutboxEventNotFound",
    "OutboxOptions",
    "OutcomeUnknown",
    "Page",
    "ProcessState",
    "Record",
    "RecordFilter",
    "RecordNotFound",
    "RecordQuery",
    "Run",
    "RunFilter",
    "RunFinished",
    "RunState",
    "ScheduleError",
    "StatusCount",
    "StatusNotConfigured",
    "StepDecorator",
    "SystemClock",
    "TimeoutDecorator",
    "TimeoutNotFound",
    "TimerSpec",
    "Unavailable",
    "Version",
    "VersionCause",
    "WaitTimeout",
    "Workflow",
    "WorkflowError",
    "WorkflowInProgress",
    "WrongEventLoop",
    "create_diagram",
    "diagram",
]
