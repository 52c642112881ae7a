"""Hearing that there may be work, instead of asking again and again."""

from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Protocol, runtime_checkable


class WakeUp(Enum):
    """The kinds of news that a subscriber can ask for."""

    OUTBOX = "outbox"
    """Something may have come into the outbox of a workflow. Offered by record stores."""
    TIMEOUTS = "timeouts"
    """A timer may have been created or moved forward. Offered by timeout stores."""
    HELD_CALLBACKS = "held callbacks"
    """A callback may have been held. Offered by record stores."""


class Subscription(Protocol):
    """One subscriber's wake-ups."""

    @abstractmethod
    async def wait(self) -> None:
        """Return when there was a wake-up since the last return, or since the subscription began.

        May be spurious, may be late, safe to cancel. A wake-up that got lost is made up for by the adapter's safety
        net: it returns without one after a few seconds at most.

        Raises:
            Unavailable: the store cannot be reached now; wait again later.
        """


@runtime_checkable
class WakeUps(Protocol):
    """Optional for a record store and a timeout store. The engine polls one that does not offer it.

    Proved by `workflow_adapters.conformance.wake_ups`.
    """

    @abstractmethod
    def subscribe(self, kind: WakeUp, workflow_name: str) -> AbstractAsyncContextManager[Subscription]:
        """Hear of what any process writes for this workflow from now on."""
