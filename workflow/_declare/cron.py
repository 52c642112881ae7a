"""Schedules: which moments a spec means, in which time zone.

croniter expands the fields. The allowed values of a field are decided here, because croniter accepts more than it
should (it reads `5-5` as every value, and `40-20` as a range that wraps). The moments are found here too, on plain wall
time, so that the answer to a change of clocks is decided in one place instead of by the library's version:

- a slot whose wall time does not exist (clocks go forward) runs at the shifted time: 02:30 becomes 03:30, and where
  that moment is a slot of its own it runs once;
- a slot whose wall time exists twice (clocks go back) runs once, the first time. So `* * * * *` in such a zone is
  silent for the hour that is repeated and then goes on; use UTC or `@every` for a steady beat;
- `@every` is elapsed time and knows no zone.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import product
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

from ..errors import ScheduleError

_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _WEEKDAYS),
)
_ITEM = re.compile(r"(?P<low>\*|\?|[0-9]{1,2}|[a-z]{3})(?:-(?P<high>[0-9]{1,2}|[a-z]{3}))?(?:/(?P<step>[0-9]{1,2}))?")

_LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}

_DURATION = re.compile(r"(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+")
_LONGEST = timedelta(days=36_525)
_DURATION_PART = re.compile(r"([0-9.]+)([a-zµμ]+)")
_MICROSECONDS = {
    "ns": Decimal("0.001"),
    "us": Decimal(1),
    "µs": Decimal(1),
    "μs": Decimal(1),
    "ms": Decimal(1000),
    "s": Decimal(1_000_000),
    "m": Decimal(60_000_000),
    "h": Decimal(3_600_000_000),
}


@dataclass(frozen=True, slots=True)
class _Fields:
    """An expanded spec; `either` because day of month and day of week are both set."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    def has_day(self, day: date) -> bool:
        """True if the schedule has slots on that day."""
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (in_month or in_week) if self.either else (in_month and in_week)

    def possible(self) -> bool:
        """False if no day can ever match, like 30 February."""
        if self.either or len(self.weekdays) < 7:
            return True
        return any(min(self.days) <= _LONGEST_MONTH.get(month, 31) for month in self.months)

    def walls(self, start: datetime) -> Iterator[datetime]:
        """Every slot as naive wall time, ascending, from `start` on."""
        day = start.date()
        while True:
            if self.has_day(day):
                slots = (datetime.combine(day, time(h, m)) for h, m in product(self.hours, self.minutes))
                yield from (slot for slot in slots if slot >= start)
                day += timedelta(days=1)
            elif day.month in self.months:
                day += timedelta(days=1)
            else:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed spec: the same question gives the same answer in every process.

    Attributes:
        spec: as it was given, without blanks around it.
        timezone: IANA name of the zone whose wall time the fields mean.
    """

    spec: str
    timezone: str
    _zone: ZoneInfo = field(repr=False, compare=False)
    _every: timedelta | None = field(default=None, repr=False, compare=False)
    _fields: _Fields | None = field(default=None, repr=False, compare=False)

    @classmethod
    def parse(cls, spec: str, timezone: str = "UTC") -> Self:
        """Read five fields (minute, hour, day of month, month, day of week), a descriptor or `@every <duration>`.

        A field is `*` or `?`, or a list of numbers, ranges and steps (`*/15`, `9-17`, `1,15`, `10-50/20`); months and
        weekdays have English three-letter names too; 7 is Sunday. With day of month and day of week both set, a day
        matches if either does. Descriptors: @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly.
        Durations are written as in Go: `1h30m`, `1.5h`, `500ms`.

        Raises:
            ScheduleError: the spec cannot be read or has no slot ever, or the zone is unknown.
        """
        if not isinstance(spec, str):
            raise ScheduleError(repr(spec), "must be text")
        spec = spec.strip()
        if not isinstance(timezone, str):
            raise ScheduleError(spec, f"the time zone must be the name of one, not {timezone!r}")
        zone = _zone(spec, timezone)
        words = spec.split()
        if words[:1] == ["@every"]:
            return cls(spec, timezone, zone, _every=_duration(spec, words[1:]))
        if spec.startswith("@"):
            if spec not in _DESCRIPTORS:
                raise ScheduleError(spec, f"unknown descriptor; there are @every, {', '.join(_DESCRIPTORS)}")
            words = _DESCRIPTORS[spec].split()
        return cls(spec, timezone, zone, _fields=_expand(spec, words))

    def next(self, after: datetime) -> datetime:
        """The first moment of the schedule strictly after `after`, in UTC.

        Raises:
            ValueError: `after` has no time zone.
        """
        if after.tzinfo is None:
            raise ValueError(f"{after!r} has no time zone")
        after = after.astimezone(UTC)
        if self._every is not None:
            return after + self._every
        assert self._fields is not None
        shifted: datetime | None = None
        for wall in self._fields.walls(self._earliest_wall(after)):
            moment = wall.replace(tzinfo=self._zone).astimezone(UTC)
            if moment <= after:
                continue
            if moment.astimezone(self._zone).replace(tzinfo=None, fold=0) == wall:
                return moment if shifted is None else min(moment, shifted)
            # The wall time was skipped: its shifted moment may lie behind that of a later slot that does exist.
            shifted = shifted or moment
        raise AssertionError("a schedule has slots without end")

    def _earliest_wall(self, after: datetime) -> datetime:
        """The wall time before which no slot can lie after `after`.

        Just after clocks went forward that is one shift back: the skipped slots are still to come, at their shifted
        times.
        """
        wall = after.astimezone(self._zone).replace(tzinfo=None, fold=0)
        before = (after - timedelta(hours=25)).astimezone(self._zone).utcoffset()
        assert before is not None
        return min(wall, after.replace(tzinfo=None) + before).replace(second=0, microsecond=0)


def _zone(spec: str, timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: the name of a directory
        raise ScheduleError(spec, f"unknown time zone {timezone!r}") from error


def _expand(spec: str, words: list[str]) -> _Fields:
    if len(words) != len(_FIELDS):
        raise ScheduleError(spec, f"expected 5 fields (minute hour day month weekday), found {len(words)}")
    plain = [_plain_field(spec, word, *rule) for word, rule in zip(words, _FIELDS, strict=True)]
    try:
        expanded, _ = croniter.expand(" ".join(plain))
    except CroniterError as error:
        raise ScheduleError(spec, str(error)) from error
    values = [_values(found, low, high) for found, (_, low, high, _) in zip(expanded, _FIELDS, strict=True)]
    fields = _Fields(
        minutes=values[0],
        hours=values[1],
        days=frozenset(values[2]),
        months=frozenset(values[3]),
        weekdays=frozenset(value % 7 for value in values[4]),
        either=plain[2] != "*" and plain[4] != "*",
    )
    if not fields.possible():
        raise ScheduleError(spec, "no such day exists in any year")
    return fields


def _values(expanded: Sequence[int | str], low: int, high: int) -> tuple[int, ...]:
    if "*" in expanded:
        return tuple(range(low, high + 1))
    return tuple(sorted(int(value) for value in expanded))


def _plain_field(spec: str, text: str, name: str, low: int, high: int, names: dict[str, int]) -> str:
    """One field in numbers, with nothing left that croniter reads in its own way."""
    items = [_plain_item(spec, item, name, low, high, names) for item in text.lower().split(",")]
    return "*" if "*" in items else ",".join(items)


def _plain_item(spec: str, text: str, name: str, low: int, high: int, names: dict[str, int]) -> str:
    match = _ITEM.fullmatch(text)
    if match is None:
        raise ScheduleError(spec, f"{name} {text!r} is no number, range, step, `*` or `?`")
    first, last, step = match["low"], match["high"], match["step"]
    if step is not None and not 1 <= int(step) <= high:
        raise ScheduleError(spec, f"{name} {text!r}: a step is from 1 to {high}")
    every = "" if step is None or int(step) == 1 else f"/{int(step)}"
    if first in "*?":
        if last is not None:
            raise ScheduleError(spec, f"{name} {text!r}: a range needs two numbers")
        return f"*{every}"
    start = _number(spec, first, name, low, high, names)
    if last is None:
        # `5/15` is from 5 on, to the end of the field.
        return str(start % 7 if names is _WEEKDAYS else start) if step is None else _range(start, high, every, names)
    end = _number(spec, last, name, low, high, names)
    if end == 0 and names is _WEEKDAYS and start > 0:
        end = 7  # a week may end on its Sunday: `sat-sun`
    if end < start:
        raise ScheduleError(spec, f"{name} {text!r}: the range runs backwards")
    return _range(start, end, every, names)


def _range(start: int, end: int, every: str, names: dict[str, int]) -> str:
    if names is _WEEKDAYS and not every:
        return ",".join(str(value % 7) for value in range(start, end + 1))
    return str(start) if start == end else f"{start}-{end}{every or '/1'}"


def _number(spec: str, text: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    value = names.get(text, -1) if text.isalpha() else int(text)
    if not low <= value <= high:
        raise ScheduleError(spec, f"{name} {text!r} is not from {low} to {high}")
    return value


def _duration(spec: str, words: list[str]) -> timedelta:
    if len(words) != 1 or not _DURATION.fullmatch(words[0]):
        raise ScheduleError(spec, "expected @every and one duration like 1h30m, 90s or 500ms")
    parts = _DURATION_PART.findall(words[0])
    microseconds = sum((Decimal(number) * _MICROSECONDS[unit] for number, unit in parts), Decimal(0))
    try:
        every = timedelta(microseconds=int(microseconds))
    except OverflowError as error:
        raise ScheduleError(spec, "the duration is too long") from error
    if every > _LONGEST:
        raise ScheduleError(spec, "the duration is too long")
    if every <= timedelta(0):
        raise ScheduleError(spec, "the duration must be at least one microsecond")
    return every
