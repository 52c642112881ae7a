# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for a storage that cannot be reached for a while: which error says so, and that nothing is lost or doubled."""

import asyncio
from collections.abc import Awaitable
from typing import cast

from workflow.errors import OutcomeUnknown, Unavailable
from workflow.protocols import WHOLE, TimeoutQuery, Verdict, WakeUp, WakeUps

from ._kit import Capability, Subject, cases_of
from ._values import NOW, WORKFLOW, abandoned, created, moved, one, put, settled, timer
from .events import TOPIC, some

case = cases_of("records")

CUT = [Capability.UNREACHABLE]


async def _fails(call: Awaitable[object], *allowed: type[Exception]) -> None:
    try:
        result = await call
    except allowed:
        return
    raise AssertionError(f"the storage cannot be reached, and yet: {result!r}")


async def _back(subject: Subject) -> None:
    """Mend, and wait until the adapter has noticed."""
    await subject.factory.mend(subject.backend)
    while True:
        try:
            await subject.records.lookup(["nobody"])
        except Unavailable:
            await asyncio.sleep(0.05)
        else:
            return


@case("contract: Unavailable", needs=CUT)
async def while_the_store_cannot_be_reached_every_call_says_so(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    records = subject.records
    (waiting,) = (await records.list_outbox(WORKFLOW, now=NOW, limit=1)).events
    await subject.factory.cut(subject.backend)
    await _fails(records.lookup(["run"]), Unavailable)
    await _fails(records.latest(WORKFLOW, record.foreign_id), Unavailable)
    await _fails(records.history("run"), Unavailable)
    await _fails(records.list_outbox(WORKFLOW, now=NOW, limit=10), Unavailable)
    # the connection that breaks now may break in the middle of a write; after that there is none to write by
    await _fails(records.store([moved(record)]), Unavailable, OutcomeUnknown)
    await _fails(records.store([moved(record)]), Unavailable)
    await _fails(records.delete_outbox([waiting.id]), Unavailable, OutcomeUnknown)
    await _back(subject)
    assert await one(records, "run") == record
    await put(records, moved(record))


@case("design 4.1: an unknown outcome", needs=CUT)
async def a_change_sent_again_after_an_outage_is_written_once(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    for turn in range(5):
        move = moved(record)
        writing = asyncio.ensure_future(subject.records.store([move]))
        await asyncio.sleep(turn / 1_000)
        await subject.factory.cut(subject.backend)
        (result,) = await asyncio.gather(writing, return_exceptions=True)
        assert isinstance(result, Unavailable | OutcomeUnknown) or result[0].verdict is Verdict.APPLIED, repr(result)  # type: ignore[index]
        await _back(subject)
        if isinstance(result, Unavailable):
            assert await one(subject.records, "run") == record, "Unavailable means that nothing was written"
        (outcome,) = await settled(subject.records, move)
        assert outcome.ok, f"after {result!r}: {outcome}"
        record = await one(subject.records, "run")
        assert record == move.record
    assert [row.version for row in await subject.records.history("run")] == list(range(1, 7))
    page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=100)
    assert [waiting.event.version for waiting in page.events] == list(range(1, 7))


@case("contract: WakeUps", needs=[Capability.UNREACHABLE, Capability.WAKE_UPS])
async def a_subscription_to_the_outbox_outlives_an_outage(subject: Subject) -> None:
    async def wait_until_the_run_is_there() -> None:
        async with cast("WakeUps", subject.records).subscribe(WakeUp.OUTBOX, WORKFLOW) as subscription:
            subscribed.set()
            found = False
            while not found:
                try:
                    await subscription.wait()
                    found = bool((await subject.records.list_outbox(WORKFLOW, now=NOW, limit=1)).events)
                except Unavailable:
                    await asyncio.sleep(0.05)

    subscribed = asyncio.Event()
    waiting = asyncio.ensure_future(wait_until_the_run_is_there())
    try:
        await subscribed.wait()
        await subject.factory.cut(subject.backend)
        await asyncio.sleep(0.1)
        await _back(subject)
        await put(subject.records, created("run"))
        await waiting
    finally:
        await abandoned(waiting)


events_case = cases_of("events")


@events_case("contract: Unavailable", needs=CUT)
async def events_that_could_not_be_sent_are_sent_after_the_outage(subject: Subject) -> None:
    await subject.events.send(some(3, run_id="run"))
    await subject.factory.cut(subject.backend)
    await _fails(subject.events.send(some(3, run_id="run", start=3)), Unavailable, OutcomeUnknown)
    await _fails(subject.events.backlog([(TOPIC, "reader")]), Unavailable)
    await _back(subject)
    await subject.events.send(some(3, run_id="run", start=3))
    async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
        got = {event.version for event in await receiver.receive(100)}
        while got < set(range(1, 7)):
            got |= {event.version for event in await receiver.receive(100)}
    assert got == set(range(1, 7))


@events_case("contract: receive", needs=CUT)
async def a_receiver_that_is_opened_anew_after_an_outage_goes_on(subject: Subject) -> None:
    await subject.events.send(some(4, run_id="run"))
    seen: list[int] = []

    async def read() -> None:
        while len(seen) < 8:
            try:
                async with subject.events.receiver(TOPIC, "reader", shard=WHOLE) as receiver:
                    while len(seen) < 8:
                        batch = await receiver.receive(1)
                        seen.extend(event.version for event in batch if event.version not in seen)
                        await receiver.ack(batch)
            except Unavailable:
                await asyncio.sleep(0.05)

    reading = asyncio.ensure_future(read())
    try:
        await asyncio.sleep(0.05)
        await subject.factory.cut(subject.backend)
        await asyncio.sleep(0.1)
        await _back(subject)
        await subject.events.send(some(4, run_id="run", start=4))
        await reading
    finally:
        await abandoned(reading)
    assert seen == list(range(1, 9))


timeouts_case = cases_of("timeouts")


@timeouts_case("contract: Unavailable", needs=[Capability.UNREACHABLE, Capability.TIMEOUTS])
async def timers_created_again_after_an_outage_are_one(subject: Subject) -> None:
    await subject.timeouts.create([timer(number=0)])
    await subject.factory.cut(subject.backend)
    await _fails(subject.timeouts.create([timer(number=1)]), Unavailable, OutcomeUnknown)
    await _back(subject)
    await subject.timeouts.create([timer(number=0), timer(number=1)])
    assert [found.timer for found in await subject.timeouts.list(TimeoutQuery(workflow_name=WORKFLOW))] == [0, 1]


roles_case = cases_of("roles")


@roles_case("design 4.8: losing a role", needs=[Capability.UNREACHABLE, Capability.SECOND_INSTANCE])
async def a_holder_that_is_cut_off_for_too_long_is_told_that_it_lost_the_role(subject: Subject) -> None:
    other = await subject.another()

    async def lose() -> None:
        try:
            async with subject.roles.hold("role") as lease:
                held.set()
                await lease.lost.wait()
                lost.set()
        except (Unavailable, OutcomeUnknown):
            return

    held, lost = asyncio.Event(), asyncio.Event()
    holding = asyncio.ensure_future(lose())
    try:
        await held.wait()
        await subject.factory.cut(subject.backend)
        async with other.role_scheduler.hold("role") as lease:
            assert lost.is_set(), "another holds the role, and the one before has not been told"
            assert lease.unclean, "it was not released"
    finally:
        await subject.factory.mend(subject.backend)
        await abandoned(holding)
