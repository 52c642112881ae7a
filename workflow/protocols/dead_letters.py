"""What could not be decoded, sent or handled."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from .._model.dead_letter import DeadLetter, DeadLetterQuery
from .._model.page import Page


class DeadLetters(Protocol):
    """The dead letters of all workflows. Proved by `workflow_adapters.conformance.dead_letters`."""

    @abstractmethod
    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep these dead letters, durably; the store gives each an id."""

    @abstractmethod
    async def list_dead_letters(self, query: DeadLetterQuery) -> Page[DeadLetter]:
        """One page of a workflow's dead letters, oldest first.

        Raises:
            ValueError: the cursor is none of this store's.
        """

    @abstractmethod
    async def lookup_dead_letters(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        """The dead letters with these ids, oldest first; unknown ids are left out."""

    @abstractmethod
    async def remove_dead_letters(self, ids: Sequence[str]) -> None:
        """Remove these dead letters; ids that are gone already are no error."""
