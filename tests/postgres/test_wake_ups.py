"""A process that writes wakes the subscribers of other processes, by notifications or by polling."""

import asyncio
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime, timedelta

from tests.postgres.database import Database
from workflow.protocols import Backend, HeldCallback, Subscription, WakeUp, WakeUps
from workflow_adapters.conformance._values import created

LONG = timedelta(seconds=60)


def _subscribed(backend: Backend, kind: WakeUp, name: str) -> AbstractAsyncContextManager[Subscription]:
    store = backend.record_store
    assert isinstance(store, WakeUps)
    return store.subscribe(kind, name)


async def _quiet(subscription: Subscription) -> None:
    """Let the wake-ups pass that come when listening begins: after this, nothing was heard for half a second."""
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.5):
                await subscription.wait()


async def test_a_look_at_the_outbox_without_a_subscription_leaves_the_relay_of_another_process_told(
    database: Database,
) -> None:
    """The sweeper looks, too: it must not be taken for the relay, which would then wait for its safety net."""
    async with database.backend(safety_net=LONG) as sweeping, database.backend(safety_net=LONG) as relaying:
        change = created("run", "key")
        name = change.record.workflow_name
        async with _subscribed(relaying, WakeUp.OUTBOX, name) as relay:
            await _quiet(relay)
            await sweeping.record_store.list_outbox(name, now=datetime.now(UTC), limit=2)
            await sweeping.record_store.store([change])
            async with asyncio.timeout(20):
                await relay.wait()


async def test_without_listening_the_numbers_of_the_sequences_wake_the_subscribers(database: Database) -> None:
    """Behind a pooler nothing is heard; callbacks that are held are noticed like events."""
    async with (
        database.backend(safety_net=LONG, listen=False) as writing,
        database.backend(safety_net=LONG, listen=False) as waiting,
    ):
        change = created("run", "key")
        name = change.record.workflow_name
        async with (
            _subscribed(waiting, WakeUp.OUTBOX, name) as outbox,
            _subscribed(waiting, WakeUp.HELD_CALLBACKS, name) as held,
        ):
            await _quiet(outbox)
            await writing.record_store.store([change])
            async with asyncio.timeout(20):
                await outbox.wait()
            await _quiet(held)
            now = datetime.now(UTC)
            callback = HeldCallback(
                id="one",
                workflow_name=name,
                foreign_id="key",
                status=1,
                payload=b"{}",
                created_at=now,
                expires_at=now + LONG,
            )
            await writing.record_store.hold(callback)
            async with asyncio.timeout(20):
                await held.wait()
