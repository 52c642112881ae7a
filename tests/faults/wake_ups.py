"""Stores that wake their subscribers wrongly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from tests.faults import Wrapper
from tests.faults.fault import Fault, fault
from workflow.protocols import Subscription, WakeUp


class _Unheard(Subscription):
    """Is never woken."""

    async def wait(self) -> None:
        await asyncio.Event().wait()


class _Restless(Subscription):
    """Is woken all the time."""

    async def wait(self) -> None:
        await asyncio.sleep(0)


class HoldsCallbacksInSilence(Wrapper):
    """Tells nobody that a callback is held."""

    def subscribe(self, kind: WakeUp, workflow_name: str) -> AbstractAsyncContextManager[Subscription]:
        return self._subscribed(kind, workflow_name)

    @asynccontextmanager
    async def _subscribed(self, kind: WakeUp, workflow_name: str) -> AsyncIterator[Subscription]:
        async with self.real.subscribe(kind, workflow_name) as subscription:
            yield _Unheard() if kind is WakeUp.HELD_CALLBACKS else subscription


class WakesAllTheTime(Wrapper):
    """Lets subscribers poll."""

    def subscribe(self, kind: WakeUp, workflow_name: str) -> AbstractAsyncContextManager[Subscription]:
        return self._subscribed()

    @asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[Subscription]:
        yield _Restless()


class _Forgetful(Subscription):
    """Begins anew after a wait that was cancelled, and loses the wake-up that it had."""

    def __init__(self, real: Any, stack: AsyncExitStack, kind: WakeUp, name: str) -> None:
        self._real, self._stack, self._kind, self._name = real, stack, kind, name

    async def begin(self) -> None:
        self._current = await self._stack.enter_async_context(self._real.subscribe(self._kind, self._name))

    async def wait(self) -> None:
        try:
            await self._current.wait()
        except asyncio.CancelledError:
            await self.begin()
            raise


class CancelledWaitsLoseWakeUps(Wrapper):
    """A wait that is cancelled takes its wake-up along."""

    def subscribe(self, kind: WakeUp, workflow_name: str) -> AbstractAsyncContextManager[Subscription]:
        return self._subscribed(kind, workflow_name)

    @asynccontextmanager
    async def _subscribed(self, kind: WakeUp, workflow_name: str) -> AsyncIterator[Subscription]:
        async with AsyncExitStack() as stack:
            subscription = _Forgetful(self.real, stack, kind, workflow_name)
            await subscription.begin()
            yield subscription


class _Late(Subscription):
    """Looks again and again, and seldom."""

    async def wait(self) -> None:
        await asyncio.sleep(1)


class LeavesItToTheSafetyNet(Wrapper):
    """Never wakes; its subscribers look every second by themselves."""

    def subscribe(self, kind: WakeUp, workflow_name: str) -> AbstractAsyncContextManager[Subscription]:
        return self._subscribed()

    @asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[Subscription]:
        yield _Late()


class WakesOneSubscriber(Wrapper):
    """Wakes the subscriber that came last."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self._last: object = None

    def subscribe(self, kind: WakeUp, workflow_name: str) -> AbstractAsyncContextManager[Subscription]:
        return self._subscribed(kind, workflow_name)

    @asynccontextmanager
    async def _subscribed(self, kind: WakeUp, workflow_name: str) -> AsyncIterator[Subscription]:
        async with self.real.subscribe(kind, workflow_name) as subscription:
            self._last = subscription
            yield _IfLast(self, subscription)


class _IfLast(Subscription):
    """Is woken only while no other subscriber came later."""

    def __init__(self, owner: WakesOneSubscriber, real: Subscription) -> None:
        self._owner, self._real = owner, real

    async def wait(self) -> None:
        await self._real.wait()
        if self._owner._last is not self._real:
            await asyncio.Event().wait()


FAULTS: tuple[Fault, ...] = (
    fault(
        "record_store",
        HoldsCallbacksInSilence,
        "a_subscriber_to_held_callbacks_is_woken_by_each",
        "a_subscriber_to_held_callbacks_is_woken_by_another_process",
    ),
    fault(
        "record_store",
        WakesAllTheTime,
        "a_subscriber_is_not_woken_again_and_again_without_a_write",
    ),
    fault(
        "record_store",
        CancelledWaitsLoseWakeUps,
        "a_cancelled_wait_keeps_the_wake_up_of_the_outbox",
    ),
    fault(
        "record_store",
        LeavesItToTheSafetyNet,
        "a_subscriber_to_the_outbox_is_woken_by_each_version",
        "a_subscriber_to_the_outbox_is_woken_by_the_event_of_a_note",
        "a_subscriber_to_the_outbox_is_woken_by_another_process",
        "a_commit_between_two_waits_for_the_outbox_is_not_lost",
        "a_cancelled_wait_keeps_the_wake_up_of_the_outbox",
        "every_subscriber_to_the_outbox_is_woken",
        "a_subscriber_to_held_callbacks_is_woken_by_each",
        "a_subscriber_to_held_callbacks_is_woken_by_another_process",
        "a_workflow_may_be_subscribed_to_again_and_again",
    ),
    fault(
        "timeout_store",
        LeavesItToTheSafetyNet,
        "a_subscriber_to_timers_is_woken_as_one_is_created",
        "a_subscriber_to_timers_is_woken_as_one_is_brought_forward",
        "a_subscriber_to_timers_is_woken_by_another_process",
        "a_timer_created_between_two_waits_is_not_lost",
        "every_subscriber_to_timers_is_woken",
    ),
    fault(
        "record_store",
        WakesOneSubscriber,
        "every_subscriber_to_the_outbox_is_woken",
        "a_workflow_may_be_subscribed_to_again_and_again",
    ),
)
