"""One subscriber's wake-ups: a signal, and a safety net for those that get lost."""

import asyncio

from workflow.protocols import Subscription

from .signal import Signal

__all__ = ["SignalSubscription"]


class SignalSubscription(Subscription):
    """The `Subscription` of the `WakeUps` port over a signal. It begins when it is made.

    Args:
        signal: set after each write that the subscriber asked for.
        safety_net: seconds after which `wait` returns without a wake-up; None where no wake-up can get lost.
        spacing: least number of seconds between two returns of `wait`, so that a subscriber which looks after each
            return does not look after every single commit.
    """

    def __init__(self, signal: Signal, *, safety_net: float | None = None, spacing: float = 0.0) -> None:
        self._signal, self._safety_net, self._spacing = signal, safety_net, spacing
        self._seen = signal.count
        self._returned_at: float | None = None

    async def wait(self) -> None:
        """Return when there was a wake-up since the last return, or when the safety net is due."""
        if self._signal.count <= self._seen:
            try:
                async with asyncio.timeout(self._safety_net):
                    await self._signal.wait_beyond(self._seen)
            except TimeoutError:
                pass
        if self._spacing:
            await self._keep_apart()
        # Last, so that a cancelled wait keeps its wake-up for the next one.
        self._seen = self._signal.count

    async def _keep_apart(self) -> None:
        now = asyncio.get_running_loop().time
        if self._returned_at is not None:
            await asyncio.sleep(max(0.0, self._returned_at + self._spacing - now()))
        self._returned_at = now()
