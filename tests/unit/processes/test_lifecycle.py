"""The processes of a workflow: their roles, groups, consumers and names are those of the release before.

Roles name locks, consumers name durable cursors, process names are labels of metrics: all of them outlive a deploy.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

from tests.unit.engines import Status, declared
from workflow import Options, ProcessState, Workflow
from workflow.protocols import ConnectorReceiver, EventReceiver, Lease, Shard
from workflow_adapters.memory import MemoryBackend, MemoryConnector, MemoryEventStreamer, MemoryRoleScheduler

ROLES = {
    "order_feed-connector-to-orders-consumer-1-of-2": "orders/1-of-2",
    "order_feed-connector-to-orders-consumer-2-of-2": "orders/2-of-2",
    "orders-1-consumer-1-of-2": "orders/1-of-2",
    "orders-1-consumer-2-of-2": "orders/2-of-2",
    "orders-1-timeout-auto-inserter-consumer": "",
    "orders-1-timeout-consumer": "",
    "orders-completed-run-state-change-hook-consumer": "",
    "orders-delete-consumer": "",
    "orders-night_report-scheduler-@daily-8b4afa7d": "",
    "orders-outbox-consumer": "",
    "orders-paused-records-retry-consumer": "",
    "orders-paused-run-state-change-hook-consumer": "",
    "orders-sweep-consumer": "",
}
"""Each role with its group."""

READINGS = {
    ("feed", "order_feed-connector-to-orders-consumer"),
    ("orders-1", "orders-1-consumer"),
    ("orders-1", "orders-1-timeout-auto-inserter-consumer"),
    ("orders-delete", "orders-delete-consumer"),
    ("orders-run-state-change", "orders-completed-run-state-change-hook-consumer"),
    ("orders-run-state-change", "orders-paused-run-state-change-hook-consumer"),
}
"""Each topic with its consumer."""

PROCESSES = {
    "a-consumer-1-of-2",
    "a-consumer-2-of-2",
    "a-timeout-auto-inserter-consumer",
    "a-timeout-consumer",
    "completed-run-state-change-hook-consumer",
    "delete-consumer",
    "night_report-scheduler-@daily",
    "order_feed-connector-to-orders-consumer-1-of-2",
    "order_feed-connector-to-orders-consumer-2-of-2",
    "outbox-consumer",
    "paused-records-retry-consumer",
    "paused-run-state-change-hook-consumer",
    "sweep-consumer",
}


class Roles(MemoryRoleScheduler):
    """Notes what is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, str] = {}

    def hold(self, role: str, *, group: str = "") -> AbstractAsyncContextManager[Lease]:
        self.asked[role] = group
        return super().hold(role, group=group)


class Stream(MemoryEventStreamer):
    """Notes what is read."""

    def __init__(self, readings: set[tuple[str, str]]) -> None:
        super().__init__()
        self._readings = readings

    def receiver(
        self, topic: str, name: str, *, shard: Shard, from_latest: bool = False
    ) -> AbstractAsyncContextManager[EventReceiver]:
        self._readings.add((topic, name))
        return super().receiver(topic, name, shard=shard, from_latest=from_latest)


class Feed(MemoryConnector):
    """Notes who reads it."""

    def __init__(self, readings: set[tuple[str, str]]) -> None:
        super().__init__()
        self._readings = readings

    def receiver(self, name: str, *, shard: Shard) -> AbstractAsyncContextManager[ConnectorReceiver]:
        self._readings.add(("feed", name))
        return super().receiver(name, shard=shard)


async def test_roles_groups_consumers_and_process_names_are_those_of_the_release_before() -> None:
    readings: set[tuple[str, str]] = set()
    roles = Roles()
    backend = MemoryBackend()
    backend.role_scheduler, backend.event_streamer = roles, Stream(readings)
    builder = declared("orders")
    builder.timeout(Status.A, timedelta(hours=1), to=Status.C)(lambda run, now: Status.C)
    builder.connector("Order Feed", Feed(readings))(lambda wf, event: None)
    builder.on_pause(lambda run: None)
    builder.on_complete(lambda run: None)
    builder.schedule("Night Report", "@daily")
    wf = builder.build(backend, default_options=Options(parallel_count=2))
    async with wf.running():
        await until_all_read(wf, readings)
    assert roles.asked == ROLES
    assert readings == READINGS
    assert wf.states().keys() == PROCESSES


async def until_all_read(wf: Workflow[Any, Any], readings: set[tuple[str, str]]) -> None:
    """Return once every process has its role, and as much is read as should be."""
    async with asyncio.timeout(20):
        while set(wf.states().values()) != {ProcessState.RUNNING} or len(readings) < len(READINGS):
            await asyncio.sleep(0)
