# ruff: noqa: D103, PT017 - the name of a case is its sentence; the kit knows no pytest
"""Cases for `TimeoutStore`: idempotent creation, due order, claims, completion and the wake-up."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from workflow.errors import TimeoutNotFound
from workflow.protocols import TimeoutPage, TimeoutQuery, TimeoutRecord, TimeoutStore

from ._kit import Capability, Subject, cases_of
from ._values import END_OF_TIME, MINUTE, NOW, SECOND, WORKFLOW, cancelled, timer

case = cases_of("timeouts")

HAS = [Capability.TIMEOUTS]


async def _claim(
    store: TimeoutStore,
    *,
    now: datetime = NOW,
    until: datetime = NOW + MINUTE,
    statuses: Sequence[int] = (1,),
    limit: int = 100,
    name: str = WORKFLOW,
) -> TimeoutPage:
    return await store.claim_due(name, statuses, now=now, until=until, limit=limit)


async def _all(subject: Subject, name: str = WORKFLOW, *, run_id: str | None = None) -> Sequence[TimeoutRecord]:
    """All timers of a workflow, or of one run, also those that have fired, in the order of their declaration."""
    query = TimeoutQuery(workflow_name=name, run_id=run_id, completed=True, limit=1_000)
    page = await subject.timeouts.list(query)
    assert page.next is None
    return sorted(page, key=lambda timeout: (timeout.expire_at, timeout.id))


def _ids(timeouts: Sequence[TimeoutRecord]) -> list[str]:
    return [timeout.id for timeout in timeouts]


@case("R-SUITE-TO-1", "R-SUITE-TO-2", "R-TSTORE-1", needs=HAS)
async def a_timer_is_read_back_in_every_field(subject: Subject) -> None:
    made = timer("é", 3, due=MINUTE, attempt=4, last_error="boom\n", visit=7, due_at=NOW + 2 * MINUTE)
    await subject.timeouts.create([made])
    await subject.timeouts.create([])
    assert list(await _all(subject)) == [made]
    page = await _claim(subject.timeouts, now=NOW + 3 * MINUTE, until=NOW + 9 * MINUTE)
    claimed = msgspec.structs.replace(made, claims=1, due_at=NOW + 9 * MINUTE)
    assert [msgspec.structs.replace(found, due_at=claimed.due_at) for found in page.timeouts] == [claimed]
    assert list(await _all(subject)) == [claimed]


@case("W-20", "design 4.9: timers belong to a visit", needs=HAS)
async def a_timer_created_again_is_left_as_it_is(subject: Subject) -> None:
    first, second = timer(number=0), timer(number=1)
    await subject.timeouts.create([first])
    later = msgspec.structs.replace(first, expire_at=NOW + MINUTE, due_at=NOW + MINUTE)
    await subject.timeouts.create([later, second])
    assert list(await _all(subject)) == [first, second]
    await subject.timeouts.complete([first.id])
    await subject.timeouts.create([first])
    (kept, _) = await _all(subject)
    assert kept.completed, "also after it was completed"


@case("R-TSTORE-1", "W-39", needs=HAS)
async def due_timers_come_in_the_order_they_are_due(subject: Subject) -> None:
    for number in (3, 1, 4, 0, 2):
        await subject.timeouts.create([timer(number=number, due=-(10 - number) * SECOND)])
    page = await _claim(subject.timeouts, limit=2)
    assert [found.timer for found in page.timeouts] == [0, 1]
    page = await _claim(subject.timeouts)
    assert [found.timer for found in page.timeouts] == [2, 3, 4]


@case("R-SUITE-GAP", needs=HAS)
async def a_timer_is_due_at_exactly_its_time_and_not_before(subject: Subject) -> None:
    await subject.timeouts.create([timer(due=MINUTE)])
    page = await _claim(subject.timeouts, now=NOW + MINUTE - timedelta(microseconds=1), until=NOW + 2 * MINUTE)
    assert page == TimeoutPage(next_due=NOW + MINUTE)
    page = await _claim(subject.timeouts, now=NOW + MINUTE, until=NOW + 2 * MINUTE)
    assert len(page.timeouts) == 1


@case("contract: moments", needs=HAS)
async def a_timer_at_the_end_of_time_is_read_back_and_never_due(subject: Subject) -> None:
    never = msgspec.structs.replace(timer("never"), expire_at=END_OF_TIME, due_at=END_OF_TIME)
    await subject.timeouts.create([never, timer("b", due=MINUTE)])
    assert list(await _all(subject)) == [timer("b", due=MINUTE), never]
    for _ in range(2):
        await subject.timeouts.cancel(["b/1/0"])
        assert await _claim(subject.timeouts, now=NOW + 10_000 * MINUTE) == TimeoutPage(next_due=END_OF_TIME)
    await subject.timeouts.postpone([msgspec.structs.replace(never, due_at=NOW)])
    (found,) = (await _claim(subject.timeouts)).timeouts
    assert found.expire_at == END_OF_TIME
    await subject.timeouts.postpone([never])
    assert list(await _all(subject)) == [msgspec.structs.replace(never, claims=1)]


@case("design 5: claim_due", needs=HAS)
async def a_claim_postpones_and_is_counted(subject: Subject) -> None:
    made = timer()
    await subject.timeouts.create([made])
    for claims in (1, 2, 3):
        now = NOW + (claims - 1) * MINUTE
        page = await _claim(subject.timeouts, now=now, until=now + MINUTE)
        assert [found.claims for found in page.timeouts] == [claims]
        assert not (await _claim(subject.timeouts, now=now, until=now + MINUTE)).timeouts, "claimed twice"
        (listed,) = await _all(subject)
        assert (listed.due_at, listed.claims, listed.expire_at) == (now + MINUTE, claims, made.expire_at)


@case("design 5: claim_due", needs=HAS)
async def a_page_says_when_the_next_of_the_others_is_due(subject: Subject) -> None:
    assert await _claim(subject.timeouts) == TimeoutPage()
    await subject.timeouts.create([timer("a"), timer("b", due=3 * MINUTE), timer("c", due=2 * MINUTE)])
    await subject.timeouts.create([timer("elsewhere", due=SECOND, status=2)])
    page = await _claim(subject.timeouts)
    assert _ids(page.timeouts) == ["a/1/0"]
    # those just claimed may be counted among the others or not: they are due again at `until`
    assert page.next_due in (NOW + MINUTE, NOW + 2 * MINUTE), page.next_due
    await subject.timeouts.complete(["a/1/0"])
    assert (await _claim(subject.timeouts)).next_due == NOW + 2 * MINUTE
    await subject.timeouts.cancel(["c/1/0"])
    assert (await _claim(subject.timeouts)).next_due == NOW + 3 * MINUTE
    await subject.timeouts.complete(["b/1/0"])
    assert await _claim(subject.timeouts) == TimeoutPage()


@case("design 5: claim_due", needs=HAS)
async def a_page_that_is_full_says_that_more_are_due(subject: Subject) -> None:
    await subject.timeouts.create([timer(number=number, due=-(9 - number) * SECOND) for number in range(5)])
    page = await _claim(subject.timeouts, limit=2)
    assert page.next_due == NOW - 7 * SECOND
    assert len((await _claim(subject.timeouts, limit=3)).timeouts) == 3


@case("R-TSTORE-1", needs=HAS)
async def only_timers_of_the_asked_statuses_and_workflow_are_claimed(subject: Subject) -> None:
    await subject.timeouts.create([timer(f"status {status}", status=status) for status in (1, 2, 3)])
    await subject.timeouts.create([timer("theirs", workflow_name="another workflow")])
    page = await _claim(subject.timeouts, statuses=(1, 3))
    assert sorted(_ids(page.timeouts)) == ["status 1/1/0", "status 3/1/0"]
    assert await _claim(subject.timeouts, statuses=()) == TimeoutPage()
    assert _ids((await _claim(subject.timeouts, name="another workflow")).timeouts) == ["theirs/1/0"]


@case("R-SUITE-TO-1", "W-27", needs=HAS)
async def completed_timers_stay_and_cancelled_ones_go_and_neither_is_due(subject: Subject) -> None:
    await subject.timeouts.create([timer(number=number, due=-MINUTE) for number in range(3)])
    await subject.timeouts.complete(["run/1/1"])
    await subject.timeouts.cancel(["run/1/2"])
    listed = await _all(subject)
    assert [(found.id, found.completed) for found in listed] == [("run/1/0", False), ("run/1/1", True)]
    assert _ids((await _claim(subject.timeouts)).timeouts) == ["run/1/0"]
    await subject.timeouts.cancel(["run/1/1"])
    assert _ids(await _all(subject)) == ["run/1/0"]


@case("R-SUITE-GAP", "W-27", needs=HAS)
async def unknown_ids_are_an_error_to_complete_and_none_to_cancel(subject: Subject) -> None:
    await subject.timeouts.create([timer(number=number) for number in range(3)])
    await subject.timeouts.cancel(["unknown"])
    await subject.timeouts.cancel([])
    await subject.timeouts.complete([])
    try:
        await subject.timeouts.complete(["run/1/0", "unknown", "run/1/2"])
    except TimeoutNotFound as error:
        assert error.timeout_id == "unknown"
    else:
        raise AssertionError("a timer that does not exist was completed")
    listed = await _all(subject)
    assert [found.completed for found in listed] == [True, False, True], "the others are completed"
    await subject.timeouts.complete(["run/1/0"])


@case("design 4.9: failures count on the timer", needs=HAS)
async def postponing_writes_due_time_attempt_and_error_only(subject: Subject) -> None:
    made = timer()
    await subject.timeouts.create([made])
    page = await _claim(subject.timeouts)
    changes = {"due_at": NOW + 5 * MINUTE, "attempt": 2, "last_error": "boom"}
    late = msgspec.structs.replace(page.timeouts[0], **changes, status=9, expire_at=NOW, foreign_id="no", claims=50)
    await subject.timeouts.postpone([late, timer("unknown")])
    await subject.timeouts.postpone([])
    assert list(await _all(subject)) == [msgspec.structs.replace(made, claims=1, **changes)]
    assert not (await _claim(subject.timeouts, now=NOW + 4 * MINUTE)).timeouts
    assert len((await _claim(subject.timeouts, now=NOW + 5 * MINUTE, until=NOW + 9 * MINUTE)).timeouts) == 1


@case("design 4.9: resuming makes it due again", needs=HAS)
async def a_timer_may_be_brought_forward(subject: Subject) -> None:
    made = timer(due=9 * MINUTE)
    await subject.timeouts.create([made])
    await subject.timeouts.postpone([msgspec.structs.replace(made, due_at=NOW)])
    assert _ids((await _claim(subject.timeouts)).timeouts) == [made.id]


@case("R-SUITE-TO-2", needs=HAS)
async def timers_are_listed_by_expiry_and_id_for_all_runs_or_one(subject: Subject) -> None:
    made = [timer("b", 0, due=MINUTE), timer("a", 1, due=MINUTE), timer("a", 0, due=2 * MINUTE), timer("c", 0)]
    await subject.timeouts.create(made)
    await subject.timeouts.create([timer("theirs", workflow_name="another workflow")])
    await _claim(subject.timeouts, until=NOW + 99 * MINUTE)
    assert _ids(await _all(subject)) == ["c/1/0", "a/1/1", "b/1/0", "a/1/0"]
    assert _ids(await _all(subject, WORKFLOW, run_id="a")) == ["a/1/1", "a/1/0"]
    assert not await _all(subject, WORKFLOW, run_id="unknown")
    assert not await _all(subject, "nobody's workflow")


@case("design 5: claim_due", "R-SUITE-GAP", needs=HAS)
async def of_many_who_claim_at_once_each_timer_goes_to_one(subject: Subject) -> None:
    stores = [subject.timeouts]
    if Capability.SECOND_INSTANCE not in subject.factory.lacks:
        other = (await subject.another()).timeout_store
        assert other is not None
        stores.append(other)
    await subject.timeouts.create([timer(number=number) for number in range(60)])
    pages = await asyncio.gather(*(_claim(stores[n % len(stores)], limit=10) for n in range(8)))
    claimed = [found.id for page in pages for found in page.timeouts]
    claimed += _ids((await _claim(subject.timeouts)).timeouts)
    assert len(claimed) == len(set(claimed)) == 60


@case("W-20", needs=HAS)
async def of_many_who_create_one_timer_at_once_there_is_one(subject: Subject) -> None:
    made = [timer(number=number) for number in range(10)]
    await asyncio.gather(*(subject.timeouts.create(made if turn % 2 else made[::-1]) for turn in range(6)))
    assert list(await _all(subject)) == made


@case("contract: a call finishes once it has begun", needs=HAS)
async def a_cancelled_claim_hides_no_timer_for_longer_than_it_was_claimed(subject: Subject) -> None:
    await subject.timeouts.create([timer(number=number) for number in range(20)])
    for turn in range(10):
        claiming = asyncio.ensure_future(_claim(subject.timeouts, limit=2))
        for _ in range(turn):
            await asyncio.sleep(0)
        await cancelled(claiming)
    page = await _claim(subject.timeouts, now=NOW + MINUTE, until=NOW + 2 * MINUTE)
    assert len(page.timeouts) == 20


@case("R-TSTORE-1", needs=[Capability.TIMEOUTS, Capability.REOPENING])
async def timers_are_there_after_reopening(subject: Subject) -> None:
    made = [timer(number=number, due=number * MINUTE) for number in range(3)]
    await subject.timeouts.create(made)
    await subject.timeouts.complete([made[1].id])
    await subject.reopen()
    listed = await _all(subject)
    assert [(found.id, found.completed) for found in listed] == [
        ("run/1/0", False),
        ("run/1/1", True),
        ("run/1/2", False),
    ]
