"""What the processes of a workflow are busy with: asked for when somebody looks, so that it costs their work nothing.

A handler that never ends raises no error. It shows in the lag of its process, in the age of its oldest handler, and
once in the log.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from ..protocols import Clock
from .log import SafeLogger
from .metrics import Metrics

LONG = 300.0
"""Seconds after which a handler without a longer time limit is reported."""


class Handler(NamedTuple):
    """One handler in flight: its run (or event), and when it began by the loop's time."""

    name: str
    began: float


class Busy(NamedTuple):
    """What one process is busy with.

    Attributes:
        lag: seconds since the oldest event that is not finished; 0 when there is none.
        handlers: those in flight.
    """

    lag: float
    handlers: Sequence[Handler]


@dataclass(slots=True, eq=False)
class _Watched:
    process: str
    look: Callable[[], Busy]
    long: float
    reported: set[Handler]


class InFlight:
    """The processes of one workflow that handle something."""

    def __init__(self, workflow_name: str, metrics: Metrics, logger: SafeLogger) -> None:
        self._name, self._metrics, self._logger = workflow_name, metrics, logger
        self._watched: list[_Watched] = []

    def watch(
        self, process: str, look: Callable[[], Busy], *, lag_alert: timedelta | None, timeout: timedelta | None
    ) -> Callable[[], None]:
        """Tell the metrics, and the log, what this process is busy with; call the result when it ends.

        Args:
            look: may be called by another thread, of whoever collects the metrics.
            timeout: the time limit of its handlers.
        """
        of_process = self._metrics.process(self._name, process)
        alert = None if lag_alert is None else lag_alert.total_seconds()
        time = asyncio.get_running_loop().time

        def tell() -> None:
            busy = look()
            of_process.lag(busy.lag, alert)
            oldest = min((handler.began for handler in busy.handlers), default=None)
            of_process.in_flight(len(busy.handlers), 0.0 if oldest is None else time() - oldest)

        forget = self._metrics.before_collecting(tell)
        long = max(LONG, 0.0 if timeout is None else timeout.total_seconds())
        watched = _Watched(process, look, long, set())
        self._watched.append(watched)

        def close() -> None:
            forget()
            self._watched.remove(watched)
            of_process.lag(0.0, alert)
            of_process.in_flight(0, 0.0)

        return close

    def report(self) -> None:
        """Say once of each handler that it takes long."""
        now = asyncio.get_running_loop().time()
        for watched in self._watched:
            late = {handler for handler in watched.look().handlers if now - handler.began > watched.long}
            for handler in late - watched.reported:
                self._logger.warning(
                    "a handler has been running for %.0f s: %s",
                    now - handler.began,
                    handler.name,
                    extra={"workflow": self._name, "run_id": handler.name, "process_name": watched.process},
                )
            watched.reported = late


class OpenEvent:
    """An event that is not finished.

    Attributes:
        began: when its handler was called, by the loop's time; None while it is not running.
    """

    __slots__ = ("began", "created_at", "name")

    def __init__(self, name: str, created_at: datetime) -> None:
        self.name, self.created_at = name, created_at
        self.began: float | None = None


class OpenEvents:
    """The events that a process of few events has in hand."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[int, OpenEvent] = {}

    def begin(self, name: str, created_at: datetime) -> OpenEvent:
        """One more."""
        one = OpenEvent(name, created_at)
        self._open[id(one)] = one
        return one

    def end(self, one: OpenEvent) -> None:
        """It is finished."""
        del self._open[id(one)]

    def busy(self) -> Busy:
        """All of them."""
        events = list(self._open.values())
        oldest = min((event.created_at for event in events), default=None)
        lag = 0.0 if oldest is None else max(0.0, (self._clock.now() - oldest).total_seconds())
        return Busy(lag, [Handler(event.name, event.began) for event in events if event.began is not None])
