"""Options: values that are checked where they are written."""

import math
from collections.abc import Callable
from datetime import timedelta
from enum import IntEnum
from typing import Any

import msgspec
import pytest

from workflow import Backoff, Options, OutboxOptions, Run
from workflow.options import DEFAULTS


class Status(IntEnum):
    A = 1
    B = 2
    C = 3


class Thing(msgspec.Struct):
    count: int = 0


R = Run[Thing, Status]


OPTIONS: Any = Options
BACKOFF: Any = Backoff
OUTBOX_OPTIONS: Any = OutboxOptions
"""As callers without a type checker see them."""


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: OPTIONS(parallel_count=0), "parallel_count must be at least 1"),
        (lambda: OPTIONS(parallel_count=1.5), "parallel_count must be a whole number"),
        (lambda: OPTIONS(parallel_count="2"), "parallel_count"),
        (lambda: OPTIONS(max_in_flight=0), "max_in_flight"),
        (lambda: OPTIONS(max_in_flight=True), "max_in_flight"),
        (lambda: OPTIONS(pause_after_err_count=-1), "pause_after_err_count"),
        (lambda: OPTIONS(polling_frequency=5), "polling_frequency must be a timedelta"),
        (lambda: OPTIONS(polling_frequency=timedelta(0)), "polling_frequency"),
        (lambda: OPTIONS(timeout=timedelta(0)), "timeout"),
        (lambda: OPTIONS(timeout=timedelta(seconds=-1)), "timeout"),
        (lambda: OPTIONS(err_back_off=1), "err_back_off"),
        (lambda: OPTIONS(err_back_off=timedelta(-1)), "err_back_off"),
        (lambda: OPTIONS(lag_alert=30), "lag_alert"),
        (lambda: OPTIONS(consume_lag=timedelta(-1)), "consume_lag"),
        (lambda: BACKOFF(first=1), "first"),
        (lambda: BACKOFF(factor=0.5), "factor"),
        (lambda: BACKOFF(factor="2"), "factor"),
        (lambda: BACKOFF(factor=math.nan), "factor"),
        (lambda: BACKOFF(jitter=1.1), "jitter"),
        (lambda: BACKOFF(jitter=None), "jitter"),
        (lambda: BACKOFF(cap=timedelta(-1)), "cap"),
        (lambda: OUTBOX_OPTIONS(limit=0), "limit"),
        (lambda: OUTBOX_OPTIONS(limit=None), "limit"),
        (lambda: OUTBOX_OPTIONS(polling_frequency=timedelta(0)), "polling_frequency"),
        (lambda: OUTBOX_OPTIONS(err_back_off=0.5), "err_back_off"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_where_it_is_written(make: Callable[[], object], part: str) -> None:
    with pytest.raises((TypeError, ValueError), match=part):
        make()


def test_options_are_values() -> None:
    """R-API-3: frozen, keyword-only, unset is None."""
    options = Options()
    assert {getattr(options, name) for name in Options.__slots__} == {None}
    with pytest.raises(AttributeError):
        options.parallel_count = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        OPTIONS(2)


def test_back_off_doubles_with_jitter_up_to_its_cap() -> None:
    backoff = Backoff(first=timedelta(seconds=1), factor=2, cap=timedelta(seconds=60), jitter=0.5)
    assert [backoff.delay(n, lambda: 0.0).total_seconds() for n in (1, 2, 3, 7, 10_000)] == [1, 2, 4, 60, 60]
    assert [backoff.delay(n, lambda: 0.999).total_seconds() for n in (1, 7)] == pytest.approx([0.5, 30], rel=0.01)
    assert Backoff().delay(1, lambda: 0.0) == timedelta(seconds=1)
    assert Backoff().delay(50, lambda: 0.0) == timedelta(minutes=5)
    constant = Options(err_back_off=timedelta(seconds=3)).back_off()
    assert [constant.delay(n, lambda: 0.9) for n in (1, 9)] == [timedelta(seconds=3)] * 2


def test_a_consume_lag_moves_the_lag_alert_unless_one_is_given() -> None:
    """R-OPT-1, R-OPT-2, R-OPT-4: in any order."""
    defaults = Options(lag_alert=timedelta(minutes=30), consume_lag=timedelta(0), parallel_count=2)
    late = Options(consume_lag=timedelta(hours=1)).over(defaults)
    assert (late.lag_alert, late.parallel_count) == (timedelta(hours=1, minutes=30), 2)
    given = Options(lag_alert=timedelta(minutes=5), consume_lag=timedelta(hours=1)).over(defaults)
    assert given.lag_alert == timedelta(minutes=5)


def test_unset_options_keep_their_defaults() -> None:
    """W-6."""
    effective = Options(pause_after_err_count=3).over(DEFAULTS)
    assert effective.pause_after_err_count == 3
    assert effective.err_back_off == DEFAULTS.err_back_off
    assert effective.polling_frequency == DEFAULTS.polling_frequency
