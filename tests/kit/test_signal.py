"""The signal of a process and what subscribers hear through it."""

import asyncio
import threading

import pytest

from workflow.protocols import WakeUp
from workflow_adapters.kit.signal import Signal
from workflow_adapters.kit.subscription import SignalSubscription
from workflow_adapters.kit.wake_ups import LocalWakeUps

SOON = 5.0


async def test_a_signal_between_two_waits_is_not_missed() -> None:
    signal = Signal()
    signal.set()
    await asyncio.wait_for(signal.wait_beyond(0), SOON)
    waiting = asyncio.ensure_future(signal.wait_beyond(1))
    await asyncio.sleep(0)
    assert signal.awaited
    signal.set()
    await asyncio.wait_for(waiting, SOON)
    assert (signal.count, signal.awaited) == (2, False)


async def test_a_waiter_that_is_cancelled_leaves_no_trace() -> None:
    signal = Signal()
    waiting = asyncio.ensure_future(signal.wait_beyond(0))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not signal.awaited
    signal.set()


async def test_it_wakes_the_waiters_of_another_event_loop() -> None:
    signal, started, woken = Signal(), threading.Event(), threading.Event()

    async def wait_there() -> None:
        asyncio.get_running_loop().call_soon(started.set)
        await asyncio.wait_for(signal.wait_beyond(0), SOON)
        woken.set()

    thread = threading.Thread(target=lambda: asyncio.run(wait_there()))
    thread.start()
    assert started.wait(SOON)
    signal.set()
    thread.join(SOON)
    assert woken.is_set()


async def test_a_subscription_hears_each_wake_up_once_and_none_from_before_it_began() -> None:
    signal = Signal()
    signal.set()
    subscription = SignalSubscription(signal)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(subscription.wait(), 0.01)
    signal.set()
    await asyncio.wait_for(subscription.wait(), SOON)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(subscription.wait(), 0.01)


async def test_a_cancelled_wait_keeps_its_wake_up_for_the_next() -> None:
    signal = Signal()
    subscription = SignalSubscription(signal)
    waiting = asyncio.ensure_future(subscription.wait())
    await asyncio.sleep(0)
    signal.set()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.wait_for(subscription.wait(), SOON)


async def test_the_safety_net_ends_a_wait_without_a_wake_up() -> None:
    await asyncio.wait_for(SignalSubscription(Signal(), safety_net=0.01).wait(), SOON)


async def test_returns_are_kept_apart() -> None:
    signal, loop = Signal(), asyncio.get_running_loop()
    subscription = SignalSubscription(signal, spacing=0.05)
    signal.set()
    await subscription.wait()
    first = loop.time()
    signal.set()
    await subscription.wait()
    assert loop.time() - first >= 0.04


async def test_wake_ups_reach_the_subscribers_of_their_kind_and_workflow() -> None:
    wake_ups = LocalWakeUps([WakeUp.OUTBOX, WakeUp.HELD_CALLBACKS])
    async with (
        wake_ups.subscribe(WakeUp.OUTBOX, "mine") as mine,
        wake_ups.subscribe(WakeUp.OUTBOX, "other") as other,
        wake_ups.subscribe(WakeUp.HELD_CALLBACKS, "mine") as held,
    ):
        assert wake_ups.has_subscriber(WakeUp.OUTBOX, "mine")
        wake_ups.wake(WakeUp.OUTBOX, "mine")
        await asyncio.wait_for(mine.wait(), SOON)
        wake_ups.wake(WakeUp.OUTBOX)
        await asyncio.wait_for(asyncio.gather(mine.wait(), other.wait()), SOON)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(held.wait(), 0.01)
    assert not wake_ups.has_subscriber(WakeUp.OUTBOX, "mine")
    wake_ups.wake(WakeUp.OUTBOX, "mine")


async def test_two_subscribers_of_one_workflow_both_hear() -> None:
    wake_ups = LocalWakeUps([WakeUp.TIMEOUTS])
    async with wake_ups.subscribe(WakeUp.TIMEOUTS, "w") as one:
        async with wake_ups.subscribe(WakeUp.TIMEOUTS, "w") as two:
            wake_ups.wake(WakeUp.TIMEOUTS, "w")
            await asyncio.wait_for(asyncio.gather(one.wait(), two.wait()), SOON)
        assert wake_ups.has_subscriber(WakeUp.TIMEOUTS, "w")


def test_a_kind_that_the_store_does_not_offer_is_refused() -> None:
    with pytest.raises(ValueError, match="TIMEOUTS"):
        LocalWakeUps([WakeUp.OUTBOX]).subscribe(WakeUp.TIMEOUTS, "w")
