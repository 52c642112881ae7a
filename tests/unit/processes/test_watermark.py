"""How far a consumer has finished: the mark rises over finished events, and stops at the first that is not."""

from datetime import UTC, datetime

from workflow import Event, RunState
from workflow._processes import watermark
from workflow._processes.watermark import HOLD_LIMIT, Ticket, Watermark


def event(position: int) -> Event:
    return Event(
        topic="topic",
        workflow_name="w",
        run_id=f"run {position}",
        foreign_id="key",
        status=1,
        run_state=RunState.RUNNING,
        version=1,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        position=position,
    )


def opened(count: int) -> tuple[Watermark, list[Ticket]]:
    mark = Watermark()
    return mark, [mark.begin(event(position)) for position in range(1, count + 1)]


def risen(mark: Watermark, now: float = 0.0) -> int | None:
    last = mark.rise(now)
    return None if last is None else last.position


def test_it_rises_to_the_last_event_before_the_first_that_is_not_finished() -> None:
    mark, tickets = opened(4)
    assert risen(mark) is None
    tickets[1].finish()
    assert risen(mark) is None
    tickets[0].finish()
    assert risen(mark) == 2
    tickets[3].finish()
    assert risen(mark) is None
    assert mark.is_open
    tickets[2].finish()
    assert risen(mark) == 4
    assert not mark.is_open
    assert risen(mark) is None


def test_finishing_twice_is_finishing_once() -> None:
    mark, tickets = opened(2)
    tickets[1].finish()
    tickets[1].finish()
    assert mark.finished == 1
    tickets[0].finish()
    assert (risen(mark), mark.finished) == (2, 0)


def test_a_handler_that_takes_too_long_is_passed_over() -> None:
    mark, tickets = opened(3)
    tickets[0].since = 100.0
    tickets[1].finish()
    assert risen(mark, 100.0 + HOLD_LIMIT) is None
    assert risen(mark, 100.1 + HOLD_LIMIT) == 2
    assert mark.is_open
    tickets[0].finish()
    assert risen(mark, 200.0) is None
    tickets[2].finish()
    assert risen(mark, 200.0) == 3


def test_an_event_that_was_not_started_is_never_passed_over() -> None:
    mark, tickets = opened(2)
    tickets[1].finish()
    assert risen(mark, 1e9) is None


def test_one_handler_does_not_hold_back_any_number_of_finished_events() -> None:
    mark, tickets = opened(watermark.BACKLOG + 2)
    tickets[0].since = 0.0
    for ticket in tickets[1:-1]:
        ticket.finish()
    assert risen(mark) is None
    tickets[-1].finish()
    assert risen(mark) == watermark.BACKLOG + 2
