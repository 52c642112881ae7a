"""The wake-ups of one store: one signal for each kind and workflow that has a subscriber.

How to use it: a record store or timeout store keeps one, its `subscribe` returns that of this class, and it calls
`wake` after each write that a subscriber may care about (and for each message from another process).
"""

from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from workflow.protocols import Subscription, WakeUp, WakeUps

from .signal import Signal
from .subscription import SignalSubscription

__all__ = ["LocalWakeUps"]


class LocalWakeUps(WakeUps):
    """Subscriptions of the tasks of this process.

    Args:
        kinds: the kinds of news that the store offers.
        safety_net: seconds after which a subscriber looks without a wake-up; None where none can get lost.
        spacing: least number of seconds between two looks of one subscriber.
    """

    def __init__(self, kinds: Collection[WakeUp], *, safety_net: float | None = None, spacing: float = 0.0) -> None:
        self._kinds, self._safety_net, self._spacing = frozenset(kinds), safety_net, spacing
        self._signals: dict[tuple[WakeUp, str], tuple[Signal, set[Subscription]]] = {}

    def subscribe(self, kind: WakeUp, workflow_name: str) -> AbstractAsyncContextManager[Subscription]:
        """Hear of what is written for this workflow from now on.

        Raises:
            ValueError: the store does not offer this kind.
        """
        if kind not in self._kinds:
            raise ValueError(f"kind: this store has no wake-ups of the kind {kind}")
        return self._subscribed((kind, workflow_name))

    @asynccontextmanager
    async def _subscribed(self, key: tuple[WakeUp, str]) -> AsyncIterator[Subscription]:
        signal, subscribers = self._signals.setdefault(key, (Signal(), set()))
        subscription = SignalSubscription(signal, safety_net=self._safety_net, spacing=self._spacing)
        subscribers.add(subscription)
        try:
            yield subscription
        finally:
            subscribers.discard(subscription)
            if not subscribers:
                del self._signals[key]

    def wake(self, kind: WakeUp, workflow_name: str | None = None) -> None:
        """There may be news of this kind for this workflow; None: for any workflow."""
        if workflow_name is None:
            for (other, _), (signal, _subscribers) in list(self._signals.items()):
                if other is kind:
                    signal.set()
        elif (found := self._signals.get((kind, workflow_name))) is not None:
            found[0].set()

    def has_subscriber(self, kind: WakeUp, workflow_name: str) -> bool:
        """True while a task of this process is subscribed: then no other process need be told to look."""
        return (kind, workflow_name) in self._signals
