"""Roles in memory: a waiter that gives up at the very moment at which the role is passed on."""

import asyncio

from workflow_adapters.memory import MemoryBackend


async def test_a_waiter_cancelled_as_the_role_is_passed_on_lets_nobody_else_in() -> None:
    inside: list[str] = []
    leave = asyncio.Event()

    async with MemoryBackend() as backend:

        async def hold(name: str) -> None:
            async with backend.role_scheduler.hold("role"):
                inside.append(name)
                await leave.wait()
                inside.remove(name)

        async with asyncio.TaskGroup() as group:
            async with backend.role_scheduler.hold("role"):
                doomed, *_ = [group.create_task(hold(name)) for name in ("doomed", "second", "third")]
                await asyncio.sleep(0)
                doomed.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
            assert inside == ["second"]
            leave.set()
        assert inside == []
