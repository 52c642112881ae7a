"""Schedules: which moments a spec means, also when clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow._declare.cron import Schedule
from workflow.errors import ScheduleError

BASE = datetime(2025, 1, 1, 10, 30, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def slots(schedule: Schedule, after: datetime, count: int) -> list[datetime]:
    found = []
    for _ in range(count):
        after = schedule.next(after)
        found.append(after)
    return found


@pytest.mark.parametrize(
    ("spec", "after", "expected"),
    [
        ("@every 5m", BASE, "2025-01-01T10:35"),
        ("@hourly", BASE, "2025-01-01T11:00"),
        ("@daily", BASE, "2025-01-02T00:00"),
        ("@midnight", BASE, "2025-01-02T00:00"),
        ("@weekly", BASE, "2025-01-05T00:00"),
        ("@monthly", BASE, "2025-02-01T00:00"),
        ("@yearly", BASE, "2026-01-01T00:00"),
        ("@annually", BASE, "2026-01-01T00:00"),
        ("* * * * *", BASE, "2025-01-01T10:31"),
        ("15 * * * *", BASE, "2025-01-01T11:15"),
        ("30 2 * * *", BASE, "2025-01-02T02:30"),
        ("0 9 15 * *", BASE, "2025-01-15T09:00"),
        ("0 18 * * 5", BASE, "2025-01-03T18:00"),
        ("0 12 1 1 *", BASE, "2025-01-01T12:00"),
        ("0 0 ? * *", BASE, "2025-01-02T00:00"),
        ("45 3 * * 6", BASE, "2025-01-04T03:45"),
        ("59 23 * * 0", BASE, "2025-01-05T23:59"),
        ("59 23 * * 7", BASE, "2025-01-05T23:59"),
        ("0 0 28 2 *", BASE, "2025-02-28T00:00"),
        ("30 6 25 12 *", BASE, "2025-12-25T06:30"),
        ("0 12 29 2 *", utc("2025-02-28T00:00"), "2028-02-29T12:00"),
        ("@hourly", utc("2025-01-01T10:00"), "2025-01-01T11:00"),
        ("  @daily  ", BASE, "2025-01-02T00:00"),
        ("0 0 1 1 0", BASE, "2025-01-05T00:00"),
        ("59 23 31 12 6", utc("2025-12-01T00:00"), "2025-12-06T23:59"),
    ],
)
def test_the_reference_table(spec: str, after: datetime, expected: str) -> None:
    """R-CRON-1, R-CRON-2, R-CRON-4, R-CRON-6."""
    assert Schedule.parse(spec).next(after) == utc(expected)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("*/15 9-17 * * 1-5", "2025-01-01T10:45"),
        ("0 0 1,15 * *", "2025-01-15T00:00"),
        ("0 0 * mar-may MON", "2025-03-03T00:00"),
        ("0 0 * * sat-sun", "2025-01-04T00:00"),
        ("0 0 * * fri-7", "2025-01-03T00:00"),
        ("5/15 * * * *", "2025-01-01T10:35"),
        ("10-50/20 * * * *", "2025-01-01T10:50"),
        ("5-5 * * * *", "2025-01-01T11:05"),
        ("0 0 * 6-6 *", "2025-06-01T00:00"),
        ("1,2,*/30 11 * * *", "2025-01-01T11:00"),
        ("0 0 31 2,4,5 *", "2025-05-31T00:00"),
        ("0 0 */10 * 1", "2025-01-06T00:00"),
        ("0 0 30 2 1", "2025-02-03T00:00"),
        ("0 0 ? * 3", "2025-01-08T00:00"),
        ("0 0 * * 0-7", "2025-01-02T00:00"),
        ("07 * * * *", "2025-01-01T11:07"),
    ],
)
def test_ranges_lists_steps_and_names(spec: str, expected: str) -> None:
    """R-CRON-3 of the seed, which read the full standard form (W-12); R-CRON-7's last two are accepted on purpose."""
    assert Schedule.parse(spec).next(BASE) == utc(expected)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("", "expected 5 fields"),
        ("@every", "one duration"),
        ("@every invalid", "one duration"),
        ("@every 5m 5m", "one duration"),
        ("@every 0s", "at least one microsecond"),
        ("@every 1ns", "at least one microsecond"),
        ("@every -5m", "one duration"),
        ("@every 5", "one duration"),
        ("@every 1d", "one duration"),
        ("@every 99999999999999h", "too long"),
        ("@unknown", "unknown descriptor"),
        ("@hourly now", "unknown descriptor"),
        ("* * *", "found 3"),
        ("* * * *", "found 4"),
        ("0 * * * * *", "found 6"),
        ("60 * * * *", "minute '60' is not from 0 to 59"),
        ("* 24 * * *", "hour '24'"),
        ("* * 32 * *", "day of month '32'"),
        ("* * 0 * *", "day of month '0'"),
        ("* * * 13 *", "month '13'"),
        ("* * * 0 *", "month '0'"),
        ("* * * * 8", "day of week '8'"),
        ("-1 * * * *", "minute '-1'"),
        ("a * * * *", "minute 'a'"),
        ("mon * * * *", "minute 'mon'"),
        ("* * * * foo", "day of week 'foo'"),
        ("0 0 L * *", "day of month 'l'"),
        ("0 0 * * mon#1", "day of week 'mon#1'"),
        ("H * * * *", "minute 'h'"),
        ("1,,2 * * * *", "minute ''"),
        ("*/0 * * * *", "step"),
        ("*/60 * * * *", "step"),
        ("*-5 * * * *", "two numbers"),
        ("40-20 * * * *", "backwards"),
        ("0 22-2 * * *", "backwards"),
        ("1.5 * * * *", "minute '1.5'"),
        ("٣ * * * *", "minute"),
        ("0 0 30 2 *", "no such day"),
        ("0 0 31 4,6,9,11 *", "no such day"),
    ],
)
def test_what_cannot_be_a_schedule_is_refused_with_a_reason(spec: str, why: str) -> None:
    """R-CRON-7."""
    with pytest.raises(ScheduleError, match=why) as caught:
        Schedule.parse(spec)
    assert caught.value.spec == spec


@pytest.mark.parametrize("timezone", ["Mars/Olympus", "", "America", "../etc/passwd", "/etc/localtime", "a\0b"])
def test_an_unknown_time_zone_is_refused(timezone: str) -> None:
    with pytest.raises(ScheduleError, match="unknown time zone"):
        Schedule.parse("@daily", timezone)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("30s", timedelta(seconds=30)),
        ("1us", timedelta(microseconds=1)),
        ("1µs", timedelta(microseconds=1)),
        ("1.5h", timedelta(minutes=90)),
        (".5s", timedelta(milliseconds=500)),
        ("2ms500us", timedelta(microseconds=2500)),
        ("1000ns", timedelta(microseconds=1)),
        ("36h", timedelta(hours=36)),
    ],
)
def test_every_adds_the_duration_without_rounding(text: str, expected: timedelta) -> None:
    """R-CRON-1."""
    after = BASE + timedelta(seconds=17, microseconds=3)
    assert Schedule.parse(f"@every {text}", "Europe/London").next(after) == after + expected


def test_leap_days_are_found_however_far() -> None:
    """W-12: the reference fails from one leap day to the next; 2100 is no leap year."""
    leap = Schedule.parse("0 12 29 2 *")
    assert leap.next(utc("2024-02-29T12:00")) == utc("2028-02-29T12:00")
    assert leap.next(utc("2096-02-29T12:00")) == utc("2104-02-29T12:00")


@pytest.mark.parametrize("after", ["2025-01-01T10:30:00.000001", "2025-01-01T10:30:59.999999"])
def test_next_is_strictly_after_and_on_the_minute(after: str) -> None:
    """R-CRON-5."""
    assert Schedule.parse("* * * * *").next(utc(after)) == utc("2025-01-01T10:31")


def test_the_zone_of_the_argument_does_not_matter() -> None:
    daily = Schedule.parse("0 9 * * *", "Europe/London")
    after = datetime(2026, 7, 1, 12, 0, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert daily.next(after) == utc("2026-07-01T08:00")
    assert daily.next(after).tzinfo is UTC


def test_a_moment_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        Schedule.parse("@daily").next(datetime(2026, 1, 1))


def test_schedules_of_equal_spec_and_zone_are_equal() -> None:
    assert Schedule.parse(" @daily ") == Schedule.parse("@daily", "UTC")
    assert Schedule.parse("@daily") != Schedule.parse("@daily", "Europe/London")
    assert repr(Schedule.parse("@daily")) == "Schedule(spec='@daily', timezone='UTC')"


@pytest.mark.parametrize(
    ("spec", "zone", "after", "expected"),
    [
        # Clocks go forward: the slot that does not exist runs at the shifted time, and the days around are normal.
        (
            "30 2 * * *",
            "America/New_York",
            "2026-03-07T00:00",
            ["2026-03-07T07:30", "2026-03-08T07:30", "2026-03-09T06:30"],
        ),
        (
            "30 1 * * *",
            "Europe/London",
            "2026-03-28T00:00",
            ["2026-03-28T01:30", "2026-03-29T01:30", "2026-03-30T00:30"],
        ),
        (
            "0 0 * * *",
            "America/Santiago",
            "2026-09-05T00:00",
            ["2026-09-05T04:00", "2026-09-06T04:00", "2026-09-07T03:00"],
        ),
        # Lord Howe moves by half an hour.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", ["2026-10-03T15:45", "2026-10-04T15:15"]),
        # A whole day was skipped: 30 December 2011 in Apia runs on the 31st, where it meets that day's own slot.
        ("0 9 * * *", "Pacific/Apia", "2011-12-29T00:00", ["2011-12-29T19:00", "2011-12-30T19:00", "2011-12-31T19:00"]),
        # Both 02:30 (shifted to 03:30) and 03:30 are slots: one moment, one run; 03:00 comes before it.
        (
            "0,30 2-3 * * *",
            "America/New_York",
            "2026-03-08T06:00",
            ["2026-03-08T07:00", "2026-03-08T07:30", "2026-03-09T06:00"],
        ),
        # A skipped slot is still owed when asked from between its wall time and its shifted time.
        ("30 2 * * *", "America/New_York", "2026-03-08T07:10", ["2026-03-08T07:30", "2026-03-09T06:30"]),
        ("30 2,5 * * *", "America/New_York", "2026-03-08T07:29", ["2026-03-08T07:30", "2026-03-08T09:30"]),
        # Clocks go back: the first of the two.
        (
            "30 1 * * *",
            "America/New_York",
            "2026-10-31T00:00",
            ["2026-10-31T05:30", "2026-11-01T05:30", "2026-11-02T06:30"],
        ),
        ("30 1 * * *", "Europe/London", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("30 23 * * *", "America/Santiago", "2026-04-04T12:00", ["2026-04-05T02:30", "2026-04-06T03:30"]),
        ("30 1 * * *", "America/New_York", "2026-11-01T06:00", ["2026-11-02T06:30"]),
    ],
)
def test_slots_when_clocks_change(spec: str, zone: str, after: str, expected: list[str]) -> None:
    found = slots(Schedule.parse(spec, zone), utc(after), len(expected))
    assert found == [utc(text) for text in expected]


def test_an_hourly_schedule_skips_nothing_when_clocks_go_forward() -> None:
    found = slots(Schedule.parse("0 * * * *", "America/New_York"), utc("2026-03-08T05:30"), 4)
    assert found == [utc(f"2026-03-08T{hour:02}:00") for hour in (6, 7, 8, 9)]


def test_a_minutely_schedule_runs_once_a_minute_when_clocks_go_forward() -> None:
    found = slots(Schedule.parse("* * * * *", "America/New_York"), utc("2026-03-08T06:30"), 120)
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(minutes=1)}


def test_hourly_and_minutely_schedules_are_silent_in_the_repeated_hour_and_go_on() -> None:
    hourly = slots(Schedule.parse("0 * * * *", "America/New_York"), utc("2026-11-01T04:30"), 3)
    assert hourly == [utc("2026-11-01T05:00"), utc("2026-11-01T07:00"), utc("2026-11-01T08:00")]
    minutely = Schedule.parse("* * * * *", "America/New_York")
    assert slots(minutely, utc("2026-11-01T05:58"), 2) == [utc("2026-11-01T05:59"), utc("2026-11-01T07:00")]
    assert minutely.next(utc("2026-11-01T06:20")) == utc("2026-11-01T07:00")


ZONES = ["UTC", "America/New_York", "Europe/London", "America/Santiago", "Australia/Lord_Howe", "Asia/Kolkata"]
SPECS = ["* * * * *", "*/20 * * * *", "30 1-3 * * *", "0 0 * * *", "15 2 1,15 * sun", "0 12 29 2 *"]


@settings(max_examples=150, deadline=None)
@given(
    spec=st.sampled_from(SPECS),
    zone=st.sampled_from(ZONES),
    after=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
    ahead=st.integers(0, 10**6),
)
def test_there_is_no_slot_between_a_moment_and_its_next(spec: str, zone: str, after: datetime, ahead: int) -> None:
    """Asking again from anywhere before the answer gives the same answer; and answers only rise."""
    schedule = Schedule.parse(spec, zone)
    start = after.replace(tzinfo=UTC)
    found = schedule.next(start)
    assert found > start
    between = start + (found - start) * (ahead / (10**6 + 1))
    assert schedule.next(between) == found
    assert schedule.next(found) > found
