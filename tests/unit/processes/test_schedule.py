"""Schedules: one run for each slot, whichever process fires it, and what skips or repeats a slot."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.sleepers import sleeps_until
from tests.unit.engines import engine, first_record
from workflow import ScheduleError, WorkflowInProgress
from workflow._declare.handlers import Handler, ScheduleDeclaration
from workflow._engine.engine import Engine
from workflow._model.record import VersionCause
from workflow._processes import schedule
from workflow._processes.lease_term import LeaseTerm
from workflow._processes.schedule import Scheduled, schedule_process
from workflow.protocols import Backend
from workflow.testing import FakeClock
from workflow_adapters.memory import MemoryBackend, MemoryLease

HOUR = timedelta(hours=1)
START = datetime(2025, 1, 1, 10, 30, tzinfo=UTC)
FIRST = datetime(2025, 1, 1, 11, tzinfo=UTC)


def scheduled(
    foreign_id: str = "report",
    spec: str = "@hourly",
    timezone: str = "UTC",
    asked: Callable[[], Awaitable[bool]] | None = None,
) -> Scheduled:
    filter_ = None if asked is None else Handler.of(asked)
    return Scheduled.of(ScheduleDeclaration(foreign_id, spec, timezone, None, filter_))


def test_names_and_run_ids_are_those_of_the_release_before() -> None:
    """Two releases run side by side during a deploy: a slot that both fire is one run."""
    one = scheduled("Night Report", "@daily")
    assert one.name == "night_report-scheduler-@daily"
    assert one.role("orders") == "orders-night_report-scheduler-@daily-8b4afa7d"
    assert one.role("User Sign_up") == "user_sign_up-night_report-scheduler-@daily-aaf176e4"
    assert one.run_id("orders", FIRST) == "7b1fa0d8-e165-52f5-9c29-c130072ec941"
    assert scheduled("r", "0 8 * * *", "Europe/London").name == "r-scheduler-0_8_*_*_*-europe/london"


def test_everything_that_tells_two_slots_apart_is_in_their_run_ids() -> None:
    slots = [
        (scheduled(), "orders", FIRST),
        (scheduled(), "orders", FIRST + HOUR),
        (scheduled(), "other", FIRST),
        (scheduled("Report"), "orders", FIRST),
        (scheduled(spec="0 * * * *"), "orders", FIRST),
        (scheduled(timezone="Europe/London"), "orders", FIRST),
    ]
    assert len({one.run_id(name, slot) for one, name, slot in slots}) == len(slots)
    assert len({one.role(name) for one, name, _ in slots}) == len(slots) - 1, "the two slots of one schedule"


@pytest.mark.parametrize(("spec", "timezone"), [("61 * * * *", "UTC"), ("@hourly", "Nowhere")])
def test_a_schedule_that_cannot_be_read_is_refused(spec: str, timezone: str) -> None:
    with pytest.raises(ScheduleError):
        scheduled(spec=spec, timezone=timezone)


class Running:
    """A schedule at work on a clock that the test moves; notes the run IDs of its triggers."""

    def __init__(
        self, one: Scheduled, *, answers: dict[int, Exception] | None = None, after: "Running | None" = None
    ) -> None:
        self.clock = FakeClock(START) if after is None else after.clock
        backend = MemoryBackend() if after is None else after.backend
        self.backend: Backend = backend
        self.engine: Engine = engine(backend, clock=self.clock)
        self.one, self.answers = one, answers or {}
        self.triggered: list[str] = []
        self.process = schedule_process(self.engine, one, self._trigger)

    async def _trigger(self, run_id: str) -> None:
        self.triggered.append(run_id)
        error = self.answers.get(len(self.triggered))
        if error is not None:
            raise error

    def start(self) -> "tuple[asyncio.Task[None], LeaseTerm]":
        term = LeaseTerm(MemoryLease(1, unclean=False), 1.0)
        return asyncio.ensure_future(self._body(term)), term

    async def _body(self, term: LeaseTerm) -> None:
        await self.process.body(term)

    async def runs_until(self, slot: datetime, then: datetime) -> None:
        """One term: the clock comes to the slot, which is settled once the process waits for the one after."""
        task, term = self.start()
        await sleeps_until(self.clock, slot)
        self.clock.set(slot)
        await sleeps_until(self.clock, then)
        term.draining.set()
        await task

    def run_ids(self, *slots: datetime) -> list[str]:
        return [self.one.run_id("unit", slot) for slot in slots]


async def test_each_slot_is_fired_once_and_missed_ones_are_made_up_for_by_one() -> None:
    of = Running(scheduled())
    task, term = of.start()
    await sleeps_until(of.clock, FIRST)
    of.clock.set(FIRST)
    await sleeps_until(of.clock, FIRST + HOUR)
    of.clock.set(FIRST + 5 * HOUR)
    await sleeps_until(of.clock, FIRST + 6 * HOUR)
    assert of.triggered == of.run_ids(FIRST, FIRST + HOUR)
    term.draining.set()
    await task


async def test_a_filter_that_says_no_skips_the_slot() -> None:
    answers = [False, True]

    async def asked() -> bool:
        return answers.pop(0)

    of = Running(scheduled(asked=asked))
    task, term = of.start()
    for slot in (FIRST, FIRST + HOUR):
        await sleeps_until(of.clock, slot)
        of.clock.set(slot)
    await sleeps_until(of.clock, FIRST + 2 * HOUR)
    assert of.triggered == of.run_ids(FIRST + HOUR)
    term.draining.set()
    await task


async def test_a_run_that_is_still_live_skips_the_slot() -> None:
    of = Running(scheduled(), answers={1: WorkflowInProgress("unit", "report")})
    task, term = of.start()
    await sleeps_until(of.clock, FIRST)
    of.clock.set(FIRST)
    await sleeps_until(of.clock, FIRST + HOUR)
    assert of.triggered == of.run_ids(FIRST)
    term.draining.set()
    await task


async def test_a_trigger_that_fails_ends_the_term_and_the_slot_is_fired_in_the_next_one() -> None:
    of = Running(scheduled(), answers={1: RuntimeError("the store is away")})
    task, _ = of.start()
    await sleeps_until(of.clock, FIRST)
    of.clock.set(FIRST)
    with pytest.raises(RuntimeError, match="away"):
        await task
    task, term = of.start()
    await sleeps_until(of.clock, FIRST + HOUR)
    assert of.triggered == of.run_ids(FIRST, FIRST)
    term.draining.set()
    await task


async def test_the_next_slot_counts_from_the_latest_run() -> None:
    of = Running(scheduled())
    of.clock.set(FIRST + timedelta(minutes=10))
    earlier = of.engine.transitions.triggered(
        foreign_id="report",
        run_id="earlier",
        status=1,
        data=b"{}",
        stamp=of.engine.stamp(VersionCause.TRIGGER),
        start_at=None,
        trace_origin="",
        trace_context={},
    )
    assert (await of.engine.commits.apply(earlier)).ok
    of.clock.set(FIRST + timedelta(hours=2, minutes=10))
    task, term = of.start()
    await sleeps_until(of.clock, FIRST + 3 * HOUR)
    assert of.triggered == of.run_ids(FIRST + HOUR), "the first slot after the latest run, once for the two missed"
    term.draining.set()
    await task


async def test_a_slot_that_was_skipped_is_not_decided_again_by_the_next_holder() -> None:
    skipping = Running(scheduled(), answers={1: WorkflowInProgress("unit", "report")})
    await first_record(skipping.engine, foreign_id="report")
    await skipping.runs_until(FIRST, FIRST + HOUR)
    following = Running(scheduled(), after=skipping)
    await following.runs_until(FIRST + HOUR, FIRST + 2 * HOUR)
    assert following.triggered == following.run_ids(FIRST + HOUR)


async def test_a_slot_that_the_filter_declined_is_not_decided_again_by_the_next_holder() -> None:
    asked: list[datetime] = []

    async def no() -> bool:
        asked.append(declining.clock.now())
        return False

    declining = Running(scheduled(asked=no))
    await first_record(declining.engine, foreign_id="report")
    await declining.runs_until(FIRST, FIRST + HOUR)
    declining.clock.set(FIRST + timedelta(minutes=30))
    following = Running(scheduled(asked=no), after=declining)
    await following.runs_until(FIRST + HOUR, FIRST + 2 * HOUR)
    assert asked == [FIRST, FIRST + HOUR]
    assert not following.triggered


async def test_a_slot_settled_by_a_clock_a_little_ahead_is_settled() -> None:
    ahead = Running(scheduled())
    await first_record(ahead.engine, foreign_id="report")
    await ahead.runs_until(FIRST, FIRST + HOUR)
    following = Running(scheduled(), after=ahead)
    following.clock.set(FIRST - timedelta(minutes=20))
    await following.runs_until(FIRST + HOUR, FIRST + 2 * HOUR)
    assert following.triggered == following.run_ids(FIRST + HOUR)


@pytest.mark.parametrize("ran", [True, False], ids=["a run of then", "skipped"])
async def test_a_slot_far_in_the_future_is_not_the_last_one(ran: bool) -> None:
    """The clock was ten years ahead once; before, the schedule stayed silent for those years."""
    wrong = Running(scheduled())
    years = datetime(2035, 1, 1, 11, tzinfo=UTC)
    wrong.clock.set(years - timedelta(minutes=10))
    wrong = Running(scheduled(), after=wrong)
    if ran:
        await first_record(wrong.engine, foreign_id="report")
    await wrong.runs_until(years, years + HOUR)
    wrong.clock.set(START)
    right = Running(scheduled(), after=wrong)
    await right.runs_until(FIRST, FIRST + HOUR)
    assert right.triggered == right.run_ids(FIRST)
    again = Running(scheduled(), after=right)
    await again.runs_until(FIRST + HOUR, FIRST + 2 * HOUR)
    assert again.triggered == again.run_ids(FIRST + HOUR)


async def test_a_clock_that_is_set_back_while_a_slot_is_waited_for_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "LOOK", timedelta(milliseconds=10))
    of = Running(scheduled())
    task, term = of.start()
    years = datetime(2035, 1, 1, 11, tzinfo=UTC)
    of.clock.set(years)
    await sleeps_until(of.clock, years + HOUR)
    of.clock.set(START)
    await sleeps_until(of.clock, FIRST)
    term.draining.set()
    await task


async def test_what_is_settled_is_kept_although_the_store_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    of = Running(scheduled(), answers={1: WorkflowInProgress("unit", "report")})
    keep = of.engine.records.keep_memo

    async def away(*_: object) -> None:
        monkeypatch.setattr(of.engine.records, "keep_memo", keep)
        raise RuntimeError("the store is away")

    monkeypatch.setattr(of.engine.records, "keep_memo", away)
    task, _ = of.start()
    await sleeps_until(of.clock, FIRST)
    of.clock.set(FIRST)
    with pytest.raises(RuntimeError, match="away"):
        await task
    task, term = of.start()
    await sleeps_until(of.clock, FIRST + HOUR)
    term.draining.set()
    await task
    following = Running(scheduled(), after=of)
    await following.runs_until(FIRST + HOUR, FIRST + 2 * HOUR)
    assert (of.triggered, following.triggered) == (of.run_ids(FIRST), of.run_ids(FIRST + HOUR))
