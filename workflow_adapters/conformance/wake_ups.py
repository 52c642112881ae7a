# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for `WakeUps`, the optional port by which stores tell that there may be work.

A wake-up may be late or spurious, and a safety net stands in for one that got lost. So a case asks for many in a row,
in less time than the safety net alone would need.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import cast

import msgspec

from workflow.protocols import Backend, HeldCallback, Note, Subscription, WakeUp, WakeUps

from ._kit import Capability, Subject, cases_of
from ._values import MINUTE, NOW, WORKFLOW, cancelled, created, event_of, moved, put, settled, timer

records_case = cases_of("records")
timeouts_case = cases_of("timeouts")

RECORDS = [Capability.WAKE_UPS]
TIMERS = [Capability.WAKE_UPS, Capability.TIMEOUTS]
TURNS = 20
SOON = 10.0
"""Seconds for all turns: far more than wake-ups need, and less than a safety net of a second in each turn."""

_Write = Callable[[Backend, int], Awaitable[object]]


@dataclass(frozen=True)
class _News:
    """One kind of wake-up, and a write that must cause it, told apart by its number."""

    kind: WakeUp
    write: _Write

    def subscribe(self, stack: AsyncExitStack, backend: Backend) -> Awaitable[Subscription]:
        """Begin a subscription that ends with the stack."""
        store = backend.timeout_store if self.kind is WakeUp.TIMEOUTS else backend.record_store
        return stack.enter_async_context(cast("WakeUps", store).subscribe(self.kind, WORKFLOW))


async def _commit(backend: Backend, number: int) -> object:
    return await settled(backend.record_store, created(f"run {number}"))


async def _emit(backend: Backend, number: int) -> object:
    (record,) = await put(backend.record_store, created(f"run {number}", workflow_name="another workflow"))
    event = event_of(record, workflow_name=WORKFLOW)
    return await settled(backend.record_store, Note(run_id=record.run_id, version=1, event=event))


async def _hold(backend: Backend, number: int) -> object:
    callback = HeldCallback(
        id=f"callback {number}",
        workflow_name=WORKFLOW,
        foreign_id="order",
        status=1,
        payload=b"payload",
        created_at=NOW,
        expires_at=NOW + MINUTE,
    )
    return await backend.record_store.hold(callback)


async def _create(backend: Backend, number: int) -> object:
    assert backend.timeout_store is not None
    await backend.timeout_store.create([timer(number=number, due=MINUTE)])
    return None


async def _bring_forward(backend: Backend, number: int) -> object:
    assert backend.timeout_store is not None
    moved_forward = timer(number=0, due=(1_000 - number) * MINUTE)
    await backend.timeout_store.create([msgspec.structs.replace(moved_forward, due_at=NOW + 2_000 * MINUTE)])
    await backend.timeout_store.postpone([moved_forward])
    return None


@asynccontextmanager
async def _soon() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(SOON):
            yield
    except TimeoutError as error:
        raise AssertionError(f"not woken {TURNS} times within {SOON:g} s") from error


COMMITS = _News(WakeUp.OUTBOX, _commit)
EMISSIONS = _News(WakeUp.OUTBOX, _emit)
CALLBACKS = _News(WakeUp.HELD_CALLBACKS, _hold)
TIMERS_MADE = _News(WakeUp.TIMEOUTS, _create)
TIMERS_MOVED = _News(WakeUp.TIMEOUTS, _bring_forward)


async def _wakes(subject: Subject, news: _News, writer: Backend) -> None:
    """A waiting subscriber returns after each write."""
    async with AsyncExitStack() as stack, _soon():
        subscription = await news.subscribe(stack, subject.backend)
        for turn in range(TURNS):
            waiting = asyncio.ensure_future(subscription.wait())
            await asyncio.sleep(0)
            await news.write(writer, turn)
            await waiting


async def _is_not_lost(subject: Subject, news: _News) -> None:
    """A write after the subscription began, or between two waits, ends the wait that follows it."""
    async with AsyncExitStack() as stack, _soon():
        subscription = await news.subscribe(stack, subject.backend)
        for turn in range(TURNS):
            await news.write(subject.backend, turn)
            await subscription.wait()


async def _survives_cancelling(subject: Subject, news: _News) -> None:
    """A wait that is cancelled as it is woken leaves the wake-up for the next."""
    async with AsyncExitStack() as stack, _soon():
        subscription = await news.subscribe(stack, subject.backend)
        for turn in range(TURNS):
            waiting = asyncio.ensure_future(subscription.wait())
            await asyncio.sleep(0)
            await news.write(subject.backend, turn)
            woken = waiting.done()
            await cancelled(waiting)
            if not woken:
                await subscription.wait()


async def _wakes_all(subject: Subject, news: _News, readers: Sequence[Backend]) -> None:
    """One write wakes every subscriber."""
    async with AsyncExitStack() as stack, _soon():
        subscriptions = [await news.subscribe(stack, reader) for reader in readers]
        for turn in range(TURNS):
            waiting = [asyncio.ensure_future(subscription.wait()) for subscription in subscriptions]
            await asyncio.sleep(0)
            await news.write(subject.backend, turn)
            await asyncio.gather(*waiting)


async def _both(subject: Subject) -> Sequence[Backend]:
    if Capability.SECOND_INSTANCE in subject.factory.lacks:
        return [subject.backend] * 3
    return [subject.backend, subject.backend, await subject.another()]


@records_case("contract: WakeUps", needs=RECORDS)
async def a_subscriber_to_the_outbox_is_woken_by_each_version(subject: Subject) -> None:
    await _wakes(subject, COMMITS, subject.backend)


@records_case("contract: WakeUps", needs=RECORDS)
async def a_subscriber_to_the_outbox_is_woken_by_the_event_of_a_note(subject: Subject) -> None:
    await _wakes(subject, EMISSIONS, subject.backend)


@records_case("contract: WakeUps", needs=[*RECORDS, Capability.SECOND_INSTANCE])
async def a_subscriber_to_the_outbox_is_woken_by_another_process(subject: Subject) -> None:
    await _wakes(subject, COMMITS, await subject.another())


@records_case("contract: WakeUps", needs=RECORDS)
async def a_commit_between_two_waits_for_the_outbox_is_not_lost(subject: Subject) -> None:
    await _is_not_lost(subject, COMMITS)


@records_case("contract: WakeUps", needs=RECORDS)
async def a_cancelled_wait_keeps_the_wake_up_of_the_outbox(subject: Subject) -> None:
    await _survives_cancelling(subject, COMMITS)


@records_case("contract: WakeUps", needs=RECORDS)
async def every_subscriber_to_the_outbox_is_woken(subject: Subject) -> None:
    await _wakes_all(subject, COMMITS, [subject.backend] * 3)


@records_case("contract: WakeUps", needs=RECORDS)
async def a_subscriber_to_held_callbacks_is_woken_by_each(subject: Subject) -> None:
    await _wakes(subject, CALLBACKS, subject.backend)
    await _is_not_lost(subject, _News(WakeUp.HELD_CALLBACKS, lambda backend, number: _hold(backend, 100 + number)))


@records_case("contract: WakeUps", needs=[*RECORDS, Capability.SECOND_INSTANCE])
async def a_subscriber_to_held_callbacks_is_woken_by_another_process(subject: Subject) -> None:
    await _wakes(subject, CALLBACKS, await subject.another())


@timeouts_case("contract: WakeUps", needs=TIMERS)
async def a_subscriber_to_timers_is_woken_as_one_is_created(subject: Subject) -> None:
    await _wakes(subject, TIMERS_MADE, subject.backend)


@timeouts_case("contract: WakeUps", needs=TIMERS)
async def a_subscriber_to_timers_is_woken_as_one_is_brought_forward(subject: Subject) -> None:
    await _wakes(subject, TIMERS_MOVED, subject.backend)


@timeouts_case("contract: WakeUps", needs=[*TIMERS, Capability.SECOND_INSTANCE])
async def a_subscriber_to_timers_is_woken_by_another_process(subject: Subject) -> None:
    await _wakes(subject, TIMERS_MADE, await subject.another())


@timeouts_case("contract: WakeUps", needs=TIMERS)
async def a_timer_created_between_two_waits_is_not_lost(subject: Subject) -> None:
    await _is_not_lost(subject, TIMERS_MADE)
    await _survives_cancelling(subject, _News(WakeUp.TIMEOUTS, lambda backend, number: _create(backend, 100 + number)))


@timeouts_case("contract: WakeUps", needs=TIMERS)
async def every_subscriber_to_timers_is_woken(subject: Subject) -> None:
    await _wakes_all(subject, TIMERS_MADE, await _both(subject))


@records_case("contract: WakeUps", needs=RECORDS)
async def a_subscriber_is_not_woken_again_and_again_without_a_write(subject: Subject) -> None:
    returns = 0

    async def wait() -> None:
        nonlocal returns
        async with AsyncExitStack() as stack:
            subscription = await COMMITS.subscribe(stack, subject.backend)
            while True:
                await subscription.wait()
                returns += 1

    waiting = asyncio.ensure_future(wait())
    # the passing of time is what is examined here; a wake-up may be spurious now and then
    await asyncio.sleep(0.3)
    await cancelled(waiting)
    assert returns <= 10, f"woken {returns} times in 0.3 s although nothing was written"


@records_case("contract: WakeUps", needs=RECORDS)
async def a_workflow_may_be_subscribed_to_again_and_again(subject: Subject) -> None:
    (record,) = await put(subject.records, created("run"))
    async with _soon():
        for _ in range(TURNS):
            async with AsyncExitStack() as stack:
                first = await COMMITS.subscribe(stack, subject.backend)
                async with AsyncExitStack() as inner:
                    await COMMITS.subscribe(inner, subject.backend)
                waiting = asyncio.ensure_future(first.wait())
                await asyncio.sleep(0)
                (record,) = await put(subject.records, moved(record))
                await waiting
