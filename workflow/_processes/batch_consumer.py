"""Consumes a stream event by event: a batch at once, acknowledged when all of it is done.

For hooks and connectors, where every event matters by itself (two pauses of one run are two events) and nothing but the
stream remembers it. So nothing is acknowledged before it was handled or put aside durably.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import anyio

from .lease_term import LeaseTerm, end

EventT = TypeVar("EventT")


class Receiver(Protocol[EventT]):
    """What event and connector receivers have in common."""

    @abstractmethod
    async def receive(self, limit: int) -> Sequence[EventT]:
        """At least one event."""

    @abstractmethod
    async def ack(self, events: Sequence[EventT]) -> None:
        """Each of these and all before it are done."""


async def consume_in_batches(
    receiver: Receiver[EventT],
    handle: Callable[[EventT], Awaitable[None]],
    term: LeaseTerm,
    *,
    slots: int,
) -> None:
    """Hand each event to `handle`, up to `slots` at once, until the role must be given up.

    `handle` returns when the event is dealt with for good; if it raises, nothing of its batch is acknowledged.
    """
    while not term.draining.is_set():
        events = await _unless_draining(receiver.receive(slots), term)
        if events is None:
            return
        tasks = [asyncio.ensure_future(_call(handle, event)) for event in events]
        try:
            await _unless_draining(asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION), term)
            if term.draining.is_set():
                await term.drain(tasks)
        finally:
            with anyio.CancelScope(shield=True):
                await end(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        if any(task.cancelled() for task in tasks):
            return
        await receiver.ack(events)


async def _call(handle: Callable[[EventT], Awaitable[None]], event: EventT) -> None:
    await handle(event)


T = TypeVar("T")


async def _unless_draining(work: Awaitable[T], term: LeaseTerm) -> T | None:
    """The result of `work`; None, with `work` cancelled, if the role must be given up first."""
    doing = asyncio.ensure_future(work)
    draining = asyncio.ensure_future(term.draining.wait())
    try:
        await asyncio.wait([doing, draining], return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        draining.cancel()
        if not doing.done():
            doing.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([doing])
