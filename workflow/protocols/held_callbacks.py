"""Callbacks that came before their run did."""

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from .._model.held_callback import HeldCallback
from .._model.page import Page


class HeldCallbacks(Protocol):
    """Callbacks that wait for their run. Proved by `workflow_adapters.conformance.held_callbacks`.

    A held callback is delivered by the `NewVersion` that names it in `takes`. From then on it is taken: it is listed
    no more, and its id is remembered (for a day at least), so that the same callback is not delivered again.
    """

    @abstractmethod
    async def hold(self, callback: HeldCallback) -> HeldCallback:
        """Keep a callback, durably, unless its id is known for this workflow and foreign ID already.

        Returns the callback of this id as the store has it now: the given one, an earlier one that is still held, or
        one that was taken (`taken_by`).
        """

    @abstractmethod
    async def held(
        self, workflow_name: str, wanted: Sequence[tuple[str, int]], *, limit: int
    ) -> Sequence[HeldCallback]:
        """Held callbacks for any of these pairs of foreign ID and status, oldest first, at most `limit`."""

    @abstractmethod
    async def list_held(
        self, workflow_name: str, *, foreign_id: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[HeldCallback]:
        """One page of the held callbacks of a workflow (or of one foreign ID), oldest first.

        Raises:
            ValueError: the cursor is none of this store's.
        """

    @abstractmethod
    async def list_expired(self, workflow_name: str, *, now: datetime, limit: int) -> Sequence[HeldCallback]:
        """Held callbacks with `expires_at` not after `now`, the earliest first. Served by an index."""

    @abstractmethod
    async def release(self, callbacks: Sequence[HeldCallback]) -> None:
        """Forget these held callbacks (by workflow, foreign ID and id); those taken or gone are left as they are."""
