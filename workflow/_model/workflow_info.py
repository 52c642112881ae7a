"""A workflow's description of itself, for readers without its code: the page, the command line, an alert."""

from datetime import datetime

import msgspec


class StatusInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One status of a workflow.

    Attributes:
        number: its value. name: its member's name in the enum. text: how people read it.
        terminal: runs that enter it are completed.
        step, callbacks, timers: whether it has a step, and how many callbacks and timers.
        parallel_count: shards of the step.
    """

    number: int
    name: str
    text: str
    terminal: bool = False
    step: bool = False
    callbacks: int = 0
    timers: int = 0
    parallel_count: int = 1


class ScheduleInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule of a workflow."""

    foreign_id: str
    spec: str
    timezone: str = "UTC"


class WorkflowInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The definition of a workflow, as a process that runs it publishes it.

    Attributes:
        name: of the workflow.
        fingerprint: of everything below; two releases with the same definition have the same.
        statuses: every status of the enum, by number.
        edges: the moves that the graph allows, as pairs of numbers.
        starting_points: where runs may start, the default first.
        connectors, hooks, schedules: their names, run states and specs.
        object_schema: JSON schema of the object, as JSON; empty if its type has none.
        release: of the program that published it.
    """

    name: str
    fingerprint: str = ""
    statuses: tuple[StatusInfo, ...] = ()
    edges: tuple[tuple[int, int], ...] = ()
    starting_points: tuple[int, ...] = ()
    connectors: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    schedules: tuple[ScheduleInfo, ...] = ()
    object_schema: bytes = b""
    release: str = ""


class PublishedWorkflow(msgspec.Struct, frozen=True, kw_only=True):
    """A definition in the catalog.

    Attributes:
        info: the definition.
        first_at: when it was published first, by the store's clock.
        last_at: when a process that runs it said so last; a running one says so every minute.
    """

    info: WorkflowInfo
    first_at: datetime
    last_at: datetime
