"""Settings of processes: their units, their defaults, and how unset ones are filled in.

All defaults live here. An unset option is None and is taken from the workflow's `default_options`, then from
`DEFAULTS`; nothing else in the engine knows a default.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import timedelta

from . import _arguments


def _durations(settings: object, *names: str) -> None:
    for name in names:
        _arguments.duration(name, getattr(settings, name))


def _counts(settings: object, least: int, *names: str) -> None:
    for name in names:
        _arguments.whole(name, getattr(settings, name), least=least)


def _given(settings: object, *names: str) -> list[str]:
    """Those that are set."""
    return [name for name in names if getattr(settings, name) is not None]


def _numbers(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError(f"{name} must be a number, not {value!r}")


def _sum(one: timedelta, other: timedelta) -> timedelta:
    return one + other if other < timedelta.max - one else timedelta.max


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """How long to wait before the next attempt of a step: exponential, with jitter and a cap.

    Attributes:
        first: the wait after the first failure.
        factor: what each further failure multiplies it by; at least 1.
        cap: the longest wait.
        jitter: the share of the wait, 0 to 1, that is drawn at random, so that runs that failed together do not come
            back together.
    """

    first: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    cap: timedelta = timedelta(minutes=5)
    jitter: float = 0.2

    def __post_init__(self) -> None:
        _durations(self, "first", "cap")
        _numbers(self, "factor", "jitter")
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"factor must be at least 1, not {self.factor!r}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be between 0 and 1, not {self.jitter!r}")

    def delay(self, attempt: int, random: Callable[[], float]) -> timedelta:
        """The wait after attempt number `attempt` (from 1) failed; `random` draws from [0, 1)."""
        try:
            seconds = self.first.total_seconds() * self.factor ** (attempt - 1)
        except OverflowError:
            seconds = math.inf
        seconds = min(seconds, self.cap.total_seconds())
        try:
            return timedelta(seconds=seconds * (1 - self.jitter * random()))
        except OverflowError:  # timedelta.max, which is rounded up in seconds
            return timedelta.max


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How one process works; None means the workflow's default, and there the library's.

    Attributes:
        parallel_count: shards of a step or connector, each with a role of its own that any process may hold; at
            least 1, at most the partitions of the stream. Default 1.
        polling_frequency: how often a status's timers are looked for although no wake-up announced one: how late a
            timer may be that another process armed. Streams have safety nets of their own. Default 1 second.
        err_back_off: the wait after a failed attempt: a `Backoff`, or a fixed timedelta. Default `Backoff()`.
        lag_alert: the lag above which the lag alert metric is 1. Default 30 minutes, plus the consume lag.
        consume_lag: how old an event must be before it is handled. Default 0.
        pause_after_err_count: failed attempts of one step after which the run is paused; 0: never. Default 0.
        max_in_flight: runs that one shard handles at the same time; each run only once. Default 256; 1000 where timers
            are armed without asking a function.
        timeout: how long one attempt may take; then it is cancelled and counts as failed. Default: no limit.
    """

    parallel_count: int | None = None
    polling_frequency: timedelta | None = None
    err_back_off: timedelta | Backoff | None = None
    lag_alert: timedelta | None = None
    consume_lag: timedelta | None = None
    pause_after_err_count: int | None = None
    max_in_flight: int | None = None
    timeout: timedelta | None = None

    def __post_init__(self) -> None:
        _durations(self, *_given(self, "polling_frequency", "lag_alert", "consume_lag", "timeout"))
        _counts(self, 1, *_given(self, "parallel_count", "max_in_flight"))
        _counts(self, 0, *_given(self, "pause_after_err_count"))
        for name in ("polling_frequency", "timeout"):
            if getattr(self, name) == timedelta(0):
                raise ValueError(f"{name} must be longer than 0")
        if not isinstance(self.err_back_off, Backoff):
            _durations(self, *_given(self, "err_back_off"))

    def over(self, defaults: "Options") -> "Options":
        """These options, with every unset one taken from `defaults`."""
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        if mine["lag_alert"] is None and mine["consume_lag"] and defaults.lag_alert is not None:
            # A process that waits on purpose is late by that much on purpose.
            mine["lag_alert"] = _sum(defaults.lag_alert, mine["consume_lag"])
        return Options(**{name: getattr(defaults, name) if value is None else value for name, value in mine.items()})

    def back_off(self) -> Backoff:
        """`err_back_off` as a Backoff; a plain timedelta never grows."""
        if isinstance(self.err_back_off, Backoff):
            return self.err_back_off
        wait = self.err_back_off if self.err_back_off is not None else Backoff().first
        return Backoff(first=wait, factor=1, cap=wait, jitter=0)


DEFAULTS = Options(
    parallel_count=1,
    polling_frequency=timedelta(seconds=1),
    err_back_off=Backoff(),
    lag_alert=timedelta(minutes=30),
    consume_lag=timedelta(0),
    pause_after_err_count=0,
    max_in_flight=256,
)
"""The library's defaults (`timeout` stays unset: no limit)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxOptions:
    """How the relay moves events from the outbox to the stream.

    Attributes:
        polling_frequency: how often to look when no wake-up came (a safety net).
        err_back_off: the wait after an error of the store or the stream.
        lag_alert: the age of the oldest unsent event above which the lag alert metric is 1.
        limit: how many events are sent at once.
    """

    polling_frequency: timedelta = timedelta(seconds=5)
    err_back_off: timedelta = timedelta(milliseconds=500)
    lag_alert: timedelta = timedelta(minutes=1)
    limit: int = 1000

    def __post_init__(self) -> None:
        _durations(self, "polling_frequency", "err_back_off", "lag_alert")
        _counts(self, 1, "limit")
        if not self.polling_frequency:
            raise ValueError("polling_frequency must be longer than 0")
