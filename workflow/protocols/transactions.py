"""Taking part in a transaction of the user's."""

from abc import abstractmethod
from typing import Protocol, runtime_checkable


@runtime_checkable
class JoinsTransactions(Protocol):
    """Optional for a record store: it can write through a transaction that the user began."""

    @abstractmethod
    def joined(self) -> bool:
        """True while the calling task is inside a transaction of the user's that this store takes part in.

        Then `store` writes through that transaction and is called with one change at a time.
        """
