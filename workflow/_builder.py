"""Declaring a workflow: which function consumes which status, and where it may lead.

A declaration is never refused half way: every problem is collected, and `build` reports them all in one `BuildError`.
"""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar, cast, overload

from prometheus_client import CollectorRegistry

from ._declare.check import check, settings_problems
from ._declare.codec import JSONCodec
from ._declare.declarations import Declarations
from ._declare.handlers import Filter, Handler
from ._declare.refusing import refusing
from ._engine.engine import Engine, Settings
from ._engine.ids import IdSource
from ._facade.workflow import Workflow
from ._model.decision import Decision
from ._model.event import ConnectorEvent
from ._model.run import ObjectT, Run, StatusT
from ._model.run_state import RunState
from .options import Options, OutboxOptions
from .protocols import Backend, Clock, Codec, ConnectorSource

if TYPE_CHECKING:  # an extra
    from opentelemetry.trace import TracerProvider

PayloadT = TypeVar("PayloadT")
AsyncT = TypeVar("AsyncT")
SyncT = TypeVar("SyncT")
T = TypeVar("T")

MaybeAsync: TypeAlias = Awaitable[T] | T
Next: TypeAlias = StatusT | Decision
To: TypeAlias = StatusT | Iterable[StatusT] | None
TimerSpec: TypeAlias = timedelta | datetime | Callable[[Run[ObjectT, StatusT], datetime], MaybeAsync[datetime | None]]


class Decorator(Protocol[AsyncT, SyncT]):
    """Registers a handler and gives it back as it was; `async def` and plain `def` keep their kind."""

    @overload
    def __call__(self, fn: AsyncT, /) -> AsyncT: ...
    @overload
    def __call__(self, fn: SyncT, /) -> SyncT: ...


class CallbackDecorator(Protocol[ObjectT, StatusT]):
    """Registers a callback and gives it back as it was; its payload may be of any type."""

    @overload
    def __call__(
        self, fn: Callable[[Run[ObjectT, StatusT], PayloadT], Coroutine[Any, Any, Next[StatusT]]], /
    ) -> Callable[[Run[ObjectT, StatusT], PayloadT], Coroutine[Any, Any, Next[StatusT]]]: ...
    @overload
    def __call__(
        self, fn: Callable[[Run[ObjectT, StatusT], PayloadT], Next[StatusT]], /
    ) -> Callable[[Run[ObjectT, StatusT], PayloadT], Next[StatusT]]: ...


StepDecorator: TypeAlias = Decorator[
    Callable[[Run[ObjectT, StatusT]], Coroutine[Any, Any, Next[StatusT]]],
    Callable[[Run[ObjectT, StatusT]], Next[StatusT]],
]
TimeoutDecorator: TypeAlias = Decorator[
    Callable[[Run[ObjectT, StatusT], datetime], Coroutine[Any, Any, Next[StatusT]]],
    Callable[[Run[ObjectT, StatusT], datetime], Next[StatusT]],
]
ConnectorDecorator: TypeAlias = Decorator[
    Callable[[Workflow[ObjectT, StatusT], ConnectorEvent], Coroutine[Any, Any, None]],
    Callable[[Workflow[ObjectT, StatusT], ConnectorEvent], None],
]
HookDecorator: TypeAlias = Decorator[
    Callable[[Run[ObjectT, StatusT]], Coroutine[Any, Any, None]], Callable[[Run[ObjectT, StatusT]], None]
]


class Builder(Generic[ObjectT, StatusT]):
    """Collects the declaration of one workflow.

    Args:
        name: names the workflow in stores, topics and roles; renaming it makes another workflow.
        object_type: the class of the user's object: msgspec.Struct, dataclass, attrs, TypedDict, pydantic, builtin.
        status_type: the enum of statuses.
    """

    def __init__(self, name: str, object_type: type[ObjectT], status_type: type[StatusT]) -> None:
        self._declared: Declarations[ObjectT, StatusT] = Declarations(name, object_type, status_type)

    def step(
        self, from_status: StatusT, *, to: To[StatusT] = None, options: Options | None = None
    ) -> StepDecorator[ObjectT, StatusT]:
        """Declare the function that consumes runs in `from_status`.

        `to` is the status, or the statuses, it may return; left out, they are read from the `Literal[...]` in its
        return annotation. One step consumes a status.
        """
        return cast(
            "StepDecorator[ObjectT, StatusT]",
            _decorator(lambda fn: self._declared.step(from_status, fn, to, options)),
        )

    def callback(self, from_status: StatusT, *, to: To[StatusT] = None) -> CallbackDecorator[ObjectT, StatusT]:
        """Declare a function that `Workflow.callback` calls for a run in `from_status`, with the caller's payload.

        The payload is decoded to the annotated type of its second parameter; `bytes` are handed on as they came.
        Several callbacks on one status run in the order of declaration, until one moves the run.
        """
        return cast(
            "CallbackDecorator[ObjectT, StatusT]", _decorator(lambda fn: self._declared.callback(from_status, fn, to))
        )

    def timeout(
        self,
        from_status: StatusT,
        timer: TimerSpec[ObjectT, StatusT],
        *,
        to: To[StatusT] = None,
        options: Options | None = None,
    ) -> TimeoutDecorator[ObjectT, StatusT]:
        """Declare a function that is called when a run is still in `from_status` at the moment `timer` says.

        `timer` is a timedelta from entering the status, a datetime, or a function of the run and the moment of entry;
        None from it means that this run has no such timer.
        """
        return cast(
            "TimeoutDecorator[ObjectT, StatusT]",
            _decorator(lambda fn: self._declared.timeout(from_status, timer, fn, to, options)),
        )

    def connector(
        self, name: str, source: ConnectorSource, *, options: Options | None = None
    ) -> ConnectorDecorator[ObjectT, StatusT]:
        """Declare a function that is called with every event of a foreign stream, at least once each."""
        return cast(
            "ConnectorDecorator[ObjectT, StatusT]",
            _decorator(lambda fn: self._declared.connector(name, source, fn, options)),
        )

    def schedule(
        self,
        foreign_id: str,
        spec: str,
        *,
        timezone: str = "UTC",
        initial_value: ObjectT | None = None,
        filter: Filter | None = None,  # noqa: A002 - the field's own word
    ) -> None:
        """Declare a schedule that the running workflow owns; see `Workflow.schedule`."""
        self._declared.schedule(foreign_id, spec, timezone, initial_value, filter)

    @property
    def on_pause(self) -> HookDecorator[ObjectT, StatusT]:
        """Declare the function called after a run was paused, at least once for each pause."""
        return cast("HookDecorator[ObjectT, StatusT]", _decorator(lambda fn: self._declared.hook(RunState.PAUSED, fn)))

    @property
    def on_cancel(self) -> HookDecorator[ObjectT, StatusT]:
        """Declare the function called after a run was cancelled, at least once."""
        return cast(
            "HookDecorator[ObjectT, StatusT]", _decorator(lambda fn: self._declared.hook(RunState.CANCELLED, fn))
        )

    @property
    def on_complete(self) -> HookDecorator[ObjectT, StatusT]:
        """Declare the function called after a run was completed, at least once."""
        return cast(
            "HookDecorator[ObjectT, StatusT]", _decorator(lambda fn: self._declared.hook(RunState.COMPLETED, fn))
        )

    # Longer than most: fifteen arguments and their meanings.
    def build(
        self,
        backend: Backend,
        *,
        starting_point: StatusT | Iterable[StatusT] | None = None,
        default_options: Options = Options(),  # noqa: B008 - frozen
        outbox_options: OutboxOptions = OutboxOptions(),  # noqa: B008 - frozen
        outbox: bool = True,
        pause_retry: timedelta | None = timedelta(hours=1),
        sweep_after: timedelta = timedelta(minutes=1),
        custom_delete: Callable[[ObjectT], ObjectT] | None = None,
        clock: Clock | None = None,
        codec: Codec[ObjectT] | None = None,
        logger: logging.Logger | None = None,
        debug: bool = False,
        registry: CollectorRegistry | None = None,
        tracer_provider: "TracerProvider | None" = None,
        ids: IdSource | None = None,
    ) -> Workflow[ObjectT, StatusT]:
        """A new workflow on `backend`, independent of any other built from this declaration.

        Args:
            starting_point: where runs start; several may be named, the first is the default. Left out: the first
                status that is left by some handler and entered by none.
            default_options: for every process that does not say otherwise.
            outbox: False starts no relay; something else must move the events (the sweeper still finds every run).
            pause_retry: after how long a run paused by the engine is resumed by itself; None: never.
            sweep_after: how long a run must have been due before it is looked for without an event.
            custom_delete: what to keep when a run's data is erased; without it nothing is kept.
            clock, ids: where time, ids and jitter come from.
            codec: how objects are stored; JSON by default.
            logger: default `logging.getLogger("workflow")`; `debug` makes its debug messages pass.
            registry: the prometheus registry for the metrics; a private one by default.
            tracer_provider: an OpenTelemetry tracer provider; without one nothing is traced.

        Raises:
            BuildError: with everything that is wrong.
        """
        settings = Settings(
            default_options=default_options,
            outbox_options=outbox_options,
            outbox=outbox,
            pause_retry=pause_retry,
            sweep_after=sweep_after,
            debug=debug,
        )
        definition, codec = check(
            self._declared,
            backend,
            starting_point=starting_point,
            default_options=default_options,
            codec=codec,
            further=_problems(settings, custom_delete, clock, codec),
        )
        engine = Engine(
            definition,
            backend,
            settings,
            custom_delete=None if custom_delete is None else Handler.of(custom_delete),
            clock=clock,
            codec=codec,
            logger=logger,
            registry=registry,
            tracer_provider=tracer_provider,
            ids=ids,
        )
        if isinstance(codec, JSONCodec) and (names := refusing(definition.object_type)):
            engine.logger.warning(_REFUSING, ", ".join(names), extra={"workflow": engine.name})
        return Workflow(engine)


_REFUSING = (
    "%s refuses unknown fields: while this release and the next run side by side, this one pauses each run whose "
    "object got a field that the next one added"
)


def _problems(settings: Settings, custom_delete: object, clock: object, codec: object) -> list[str]:
    """Everything wrong with the arguments of `build` that are not about the declaration."""
    return settings_problems(
        default_options=settings.default_options,
        outbox_options=settings.outbox_options,
        pause_retry=settings.pause_retry,
        sweep_after=settings.sweep_after,
        custom_delete=custom_delete,
        clock=clock,
        codec=codec,
    )


def _decorator(register: Callable[[Callable[..., Any]], None]) -> Any:
    """A decorator that registers a handler and gives it back; its users are typed by the protocols above."""

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        register(fn)
        return fn

    return decorate
